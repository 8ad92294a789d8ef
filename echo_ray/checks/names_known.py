"""Words that need no definition: keywords and what a language or its usual runtime defines everywhere.

Python's come from the interpreter that runs this; the others are the documented globals of ECMAScript,
browsers, Node and the common test runners, the predeclared identifiers of Go, and the keywords of Java, C and
C++. Types are not listed: a type that a window does not define is never called undefined.

Not covered: globals of a framework or a build (they are known once a file mentions them elsewhere).
"""

import builtins
import keyword


def words(text: str) -> frozenset[str]:
    """The words of a text that lists them."""
    return frozenset(text.split())


_PYTHON = frozenset((*keyword.kwlist, *keyword.softkwlist, *dir(builtins))) | words(
    """__file__ __name__ __doc__ __package__ __spec__ __loader__ __path__ __all__ __annotations__
    __class__ __builtins__ __dict__ __module__ __qualname__ reveal_type reveal_locals unicode basestring
    long xrange raw_input unichr reduce cmp execfile WindowsError get_ipython"""
)

_SCRIPT = words(
    """abstract any arguments as assert asserts async await bigint boolean break case catch class const
    constructor continue debugger declare default delete do else enum export extends false finally for
    from function get global if implements import in infer instanceof interface is keyof let module
    namespace never new null number object of out override package private protected public readonly
    require return satisfies set static string super switch symbol this throw true try type typeof
    undefined unique unknown using var void while with yield

    Infinity NaN globalThis eval isFinite isNaN parseFloat parseInt decodeURI decodeURIComponent
    encodeURI encodeURIComponent escape unescape Object Function Boolean Symbol Error AggregateError
    EvalError RangeError ReferenceError SyntaxError TypeError URIError Number BigInt Math Date String
    RegExp Array Int8Array Uint8Array Uint8ClampedArray Int16Array Uint16Array Int32Array Uint32Array
    BigInt64Array BigUint64Array Float16Array Float32Array Float64Array Map Set WeakMap WeakSet WeakRef
    Iterator ArrayBuffer SharedArrayBuffer DataView Atomics JSON Promise Reflect Proxy Intl WebAssembly
    FinalizationRegistry DisposableStack AsyncDisposableStack

    window self document navigator location history screen frames parent top opener name status origin
    event performance crypto caches indexedDB localStorage sessionStorage console fetch alert confirm
    prompt print open close stop focus blur scroll scrollTo scrollBy getComputedStyle getSelection
    matchMedia postMessage requestAnimationFrame cancelAnimationFrame requestIdleCallback
    cancelIdleCallback setTimeout clearTimeout setInterval clearInterval setImmediate clearImmediate
    queueMicrotask structuredClone reportError btoa atob addEventListener removeEventListener
    dispatchEvent createImageBitmap innerWidth innerHeight outerWidth outerHeight pageXOffset
    pageYOffset scrollX scrollY screenX screenY devicePixelRatio visualViewport customElements
    speechSynthesis importScripts registration clients skipWaiting

    process Buffer exports __dirname __filename gc jQuery define chrome browser

    describe it test expect suite context specify before after beforeEach afterEach beforeAll afterAll
    jest vi vitest fdescribe fit xdescribe xit xtest fail pending jasmine spyOn cy Cypress assertType
    expectTypeOf QUnit sinon chai should mocha bench

    defineProps defineEmits defineExpose defineOptions defineSlots defineModel withDefaults"""
)

_JAVA = words(
    """abstract assert boolean break byte case catch char class const continue default do double else
    enum exports extends false final finally float for goto if implements import instanceof int
    interface long module native new non null open opens package permits private protected provides
    public record requires return sealed short static strictfp super switch synchronized this throw
    throws to transient transitive true try uses var void volatile when while with yield

    getClass hashCode equals toString clone notify notifyAll wait finalize values valueOf ordinal length
    java javax org com"""
)

_GO = words(
    """break case chan const continue default defer else fallthrough for func go goto if import
    interface map package range return select struct switch type var any bool byte comparable complex64
    complex128 error float32 float64 int int8 int16 int32 int64 rune string uint uint8 uint16 uint32
    uint64 uintptr true false iota nil append cap clear close complex copy delete imag len make max min
    new panic print println real recover init main _"""
)

_C = words(
    """auto break case char const continue default do double else enum extern float for goto if inline
    int long register restrict return short signed sizeof static struct switch typedef union unsigned
    void volatile while alignas alignof and and_eq asm bitand bitor bool catch char8_t char16_t char32_t
    class compl concept consteval constexpr constinit const_cast co_await co_return co_yield decltype
    delete dynamic_cast explicit export false friend mutable namespace new noexcept not not_eq nullptr
    operator or or_eq private protected public reinterpret_cast requires static_assert static_cast
    template this thread_local throw true try typeid typename using virtual wchar_t xor xor_eq final
    override import module size_t ssize_t ptrdiff_t intptr_t uintptr_t int8_t int16_t int32_t int64_t
    uint8_t uint16_t uint32_t uint64_t time_t off_t pid_t FILE NULL std string vector map errno stdin
    stdout stderr environ main assert defined"""
)

KNOWN: dict[str, frozenset[str]] = {
    "python": _PYTHON,
    **dict.fromkeys(("javascript", "javascriptreact", "typescript", "typescriptreact", "vue"), _SCRIPT),
    "java": _JAVA,
    "go": _GO,
    "c": _C,
    "cpp": _C,
}
"""VS Code language identifier to the words that are never undefined."""
