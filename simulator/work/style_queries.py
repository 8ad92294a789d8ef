"""Tree-sitter queries that find scopes, names and their uses in each language; read by `style_scopes`.

Captures are named in `style_scopes`: kinds of scopes and roles of names.
"""

_JAVASCRIPT = """
(identifier) @id
(shorthand_property_identifier) @shorthand
(shorthand_property_identifier_pattern) @short_pattern
[(function_declaration) (function_expression) (generator_function) (generator_function_declaration)
 (arrow_function) (method_definition)] @function
[(function_declaration name: (identifier) @outer @fixed)
 (generator_function_declaration name: (identifier) @outer @fixed)]
(function_expression name: (identifier) @fixed)
(arrow_function parameter: (identifier) @argument)
(formal_parameters) @params
(assignment_pattern right: (_) @use)
(object_assignment_pattern right: (_) @use)
(computed_property_name) @use
[(statement_block) (for_statement) (for_in_statement) (catch_clause) (switch_body)
 (class_static_block)] @block
(class_body) @class
(lexical_declaration (variable_declarator name: (identifier) @bind))
(lexical_declaration (variable_declarator name: [(array_pattern) (object_pattern)] @pattern))
(variable_declaration (variable_declarator name: (identifier) @hoist))
(variable_declaration (variable_declarator name: [(array_pattern) (object_pattern)] @frozen))
(for_in_statement kind: "var" left: (_) @frozen)
(for_in_statement kind: ["const" "let"] left: (identifier) @bind)
(for_in_statement kind: ["const" "let"] left: [(array_pattern) (object_pattern)] @pattern)
(catch_clause parameter: (identifier) @bind)
(catch_clause parameter: [(array_pattern) (object_pattern)] @frozen)
(with_statement) @freeze
(call_expression function: (identifier) @dynamic)
"""
_JSX = """
(jsx_opening_element name: (identifier) @skip)
(jsx_closing_element name: (identifier) @skip)
(jsx_self_closing_element name: (identifier) @skip)
"""
_TYPESCRIPT = """
(type_identifier) @type
[(function_type) (constructor_type) (call_signature) (method_signature) (construct_signature)
 (abstract_method_signature) (function_signature)] @function
(function_signature name: (identifier) @outer @fixed)
(index_signature name: (identifier) @skip)
(required_parameter . pattern: (identifier) @argument)
(optional_parameter . pattern: (identifier) @argument)
(required_parameter . pattern: (rest_pattern (identifier) @argument))
(required_parameter value: (_) @use)
(optional_parameter value: (_) @use)
(type_annotation) @use
(decorator) @use
(enum_declaration name: (identifier) @fixed)
(internal_module) @freeze
"""
_C = """
(identifier) @id
(type_identifier) @type
[(function_definition declarator: (function_declarator))
 (function_definition declarator: (_ (function_declarator)))
 (function_definition declarator: (_ (_ (function_declarator))))] @function
(parameter_list) @params
(parameter_declaration declarator: (identifier) @argument)
(array_declarator size: (_) @use)
[(compound_statement) (for_statement) (if_statement) (while_statement) (switch_statement)] @block
(field_declaration_list) @class
(declaration declarator: (identifier) @bind)
(init_declarator declarator: (identifier) @bind)
(pointer_declarator declarator: (identifier) @bind)
(array_declarator declarator: (identifier) @bind)
(function_declarator declarator: (identifier) @ban)
(parenthesized_declarator) @frozen
(enumerator name: (identifier) @ban)
(preproc_def name: (identifier) @ban)
(preproc_function_def) @frozen
(preproc_arg) @macro
((declaration (storage_class_specifier) @_storage) @frozen (#eq? @_storage "extern"))
"""
QUERIES = {
    "python": """
(identifier) @id
[(function_definition) (lambda)] @function
[(list_comprehension) (set_comprehension) (dictionary_comprehension) (generator_expression)] @comprehension
(list_comprehension body: (_) . (for_in_clause right: (_) @outer))
(set_comprehension body: (_) . (for_in_clause right: (_) @outer))
(dictionary_comprehension body: (_) . (for_in_clause right: (_) @outer))
(generator_expression body: (_) . (for_in_clause right: (_) @outer))
(class_definition body: (block) @class)
(class_definition name: (identifier) @fixed)
(function_definition name: (identifier) @outer @fixed)
(function_definition return_type: (_) @outer)
[(parameters) (lambda_parameters)] @params
(default_parameter value: (_) @outer @use)
(typed_default_parameter value: (_) @outer @use)
(typed_default_parameter type: (_) @outer @use)
(typed_parameter type: (_) @outer @use)
(assignment left: (identifier) @bind)
(augmented_assignment left: (identifier) @bind)
(pattern_list (identifier) @bind)
(tuple_pattern (identifier) @bind)
(list_pattern (identifier) @bind)
(list_splat_pattern (identifier) @bind)
(for_statement left: (identifier) @bind)
(for_in_clause left: (identifier) @bind)
(as_pattern_target (identifier) @bind)
(as_pattern_target [(tuple) (list)] @frozen)
(named_expression name: (identifier) @hoist)
(dotted_name (identifier) @fixed)
(aliased_import alias: (identifier) @fixed)
(case_pattern) @frozen
(keyword_argument name: (identifier) @skip)
(attribute attribute: (identifier) @skip)
(global_statement (identifier) @everywhere)
(nonlocal_statement (identifier) @everywhere)
(interpolation "=") @frozen
(call function: (identifier) @dynamic)
(exec_statement) @freeze
""",
    "javascript": _JAVASCRIPT
    + _JSX
    + """
(class_declaration name: (identifier) @fixed)
(formal_parameters (identifier) @argument)
(formal_parameters (assignment_pattern left: (identifier) @argument))
(formal_parameters (rest_pattern (identifier) @argument))
""",
    "typescript": _JAVASCRIPT + _TYPESCRIPT,
    "tsx": _JAVASCRIPT + _JSX + _TYPESCRIPT,
    "java": """
(identifier) @id
(type_identifier) @type
[(method_declaration) (constructor_declaration) (compact_constructor_declaration) (lambda_expression)
 (static_initializer)] @function
(lambda_expression parameters: (identifier) @argument)
(inferred_parameters (identifier) @argument)
(formal_parameter . type: (_) name: (identifier) @argument)
(formal_parameter . (modifiers . "final" .) name: (identifier) @argument)
(spread_parameter (variable_declarator name: (identifier) @argument))
[(formal_parameters) (inferred_parameters)] @params
(annotation_argument_list) @use
[(block) (constructor_body) (for_statement) (enhanced_for_statement) (try_with_resources_statement)
 (catch_clause) (switch_block)] @block
[(class_body) (interface_body) (enum_body) (annotation_type_body)] @class
(local_variable_declaration declarator: (variable_declarator name: (identifier) @bind))
(enhanced_for_statement name: (identifier) @bind)
(resource name: (identifier) @bind)
(catch_formal_parameter name: (identifier) @bind)
(field_declaration declarator: (variable_declarator name: (identifier) @fixed))
(instanceof_expression name: (identifier) @ban)
[(type_pattern) (record_pattern) (switch_label)] @frozen
(method_declaration name: (identifier) @skip)
(method_invocation name: (identifier) @skip)
(field_access field: (identifier) @skip)
(method_reference (_) "::" (identifier) @skip)
(scoped_identifier name: (identifier) @skip)
(labeled_statement . (identifier) @ban)
(break_statement (identifier) @ban)
(continue_statement (identifier) @ban)
(element_value_pair key: (identifier) @skip)
(annotation name: (identifier) @skip)
(marker_annotation name: (identifier) @skip)
""",
    "c": _C,
    "cpp": _C
    + """
(lambda_expression) @function
(optional_parameter_declaration declarator: (identifier) @argument)
(optional_parameter_declaration default_value: (_) @use)
[(template_argument_list) (decltype)] @use
[(for_range_loop) (catch_clause)] @block
(reference_declarator (identifier) @bind)
(for_range_loop declarator: (identifier) @bind)
(structured_binding_declarator (identifier) @bind)
(lambda_capture_initializer left: (identifier) @ban)
(qualified_identifier name: (identifier) @skip)
(namespace_identifier) @type
""",
    "go": """
(identifier) @id
[(type_identifier) (package_identifier)] @type
[(function_declaration) (method_declaration) (func_literal)] @function
(parameter_list) @params
(parameter_declaration name: (identifier) @argument)
(variadic_parameter_declaration name: (identifier) @argument)
(method_declaration receiver: (parameter_list) @frozen)
(function_type) @frozen
(array_type length: (_) @use)
[(block) (if_statement) (for_statement) (expression_switch_statement) (type_switch_statement)
 (expression_case) (type_case) (default_case) (communication_case)] @block
[(short_var_declaration) (var_spec) (const_spec) (range_clause)] @late
(short_var_declaration left: (expression_list (identifier) @bind))
(var_spec name: (identifier) @bind)
(const_spec name: (identifier) @bind)
(range_clause left: (expression_list (identifier) @bind) ":=")
(receive_statement left: (expression_list (identifier) @bind) ":=")
(receive_statement right: (_) @outer)
(type_switch_statement alias: (expression_list (identifier) @bind))
(type_switch_statement initializer: (_) alias: (expression_list (identifier) @ban))
(type_switch_statement !initializer value: (_) @outer)
(keyed_element key: (literal_element (identifier) @shorthand))
""",
}
"""What `renames` needs to know about each grammar. Ranges: `function`, `comprehension`, `block` and `class`
are scopes; `params` are bound in their function, `pattern` in its scope; `use` holds expressions within
them; `outer` lies in the scope around; `late` binds at its end; names in `frozen` stay in this function,
`freeze` keeps all names of it. Identifiers: see `_ROLES`."""
