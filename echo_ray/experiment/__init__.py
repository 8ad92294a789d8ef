"""Statistics of an experiment: two arms' counts per user in, an answer that survives a hostile reader out.

`analyse.analyse` is the entry; everything beneath it is usable alone, pure, and needs numpy and scipy only.

    inputs        arms, metrics as ratios of named counts
    compare       one metric by every method          estimates     the value they return; log scale
    adjust        CUPED, post-stratification          sequential    peeking: mSPRT, confidence sequence
    srm           sample ratio mismatch               power         power, MDE, sample size
    multiplicity  false discoveries, fixed sequence   flags         users who are no people
    groups        one comparison per language         few           small-sample correction
    proposals     AR at equal lengths                 naive         the wrong test, to be shown

Delta method, bootstrap, sign flip: `echo_ray.metrics` and `echo_ray.resampling`.
"""
