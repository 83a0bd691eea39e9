import numpy as np

from facesmith.metrics.retrieval import retrieval_rank


def test_retrieval_rank_counts_those_who_are_more_similar():
    assert retrieval_rank(np.array([0.2, 0.9, 0.5]), 1) == 1
    assert retrieval_rank(np.array([0.2, 0.9, 0.5]), 0) == 3


def test_retrieval_rank_of_a_recogniser_that_tells_nobody_apart_is_last():
    assert retrieval_rank(np.full(7, 0.3), 2) == 7
