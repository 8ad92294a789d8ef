"""Offline replay: what a candidate's acceptance rate would be, from the control's log. Pure.

    outcomes    who was shown and accepted what, by request     acceptance  logistic curve, cross-fitted
    features    a proposal against what finally stood there     predict     arms, differences, bootstrap

The control's own proposals and their fate teach how acceptance follows from what a proposal has in common
with the text that finally stood in its place. Candidates answer the same contexts, and the same curves say
what would have become of their answers ("direct method" of off-policy evaluation, Dudik et al. 2011).

Not covered: contexts stay those of the control, so what a candidate's accepted text would have changed
further down is missing; people may decide by more than these features know; what finally stood there holds
what the control wrote and the user took, so the truth leans to the control.
"""
