"""Statistics of an experiment: two arms' counts per user in, an answer that survives a hostile reader out.

`analyse.analyse` is the entry; everything beneath it is pure and usable alone.

    inputs      arms, metrics as ratios of counts   adjust        CUPED, post-stratification
    analyse     the whole experiment                sequential    peeking: mSPRT, confidence sequence
    groups      a comparison per language           looks         planned looks: O'Brien-Fleming
    compare     one metric by every method          multiplicity  false discoveries, fixed sequence
    estimates   the value returned, log scale       power         power, MDE, sample size
    few         correction for few users            srm           sample ratio mismatch
    proposals   AR at equal lengths                 flags         users who are no people
    lengths     bins of proposal length             twins         time that twins save
                                                    naive         the wrong test, to be shown
    exposures   what became of each proposal        tally         counts per user of a served log
    arm_facts   versions, latency, agreement        decision      ship or not: the one rule
                                                    rollout       go on, take back or promote, at every look

Delta method, bootstrap, sign flip: `echo_ray.metrics` and `echo_ray.resampling`.
"""
