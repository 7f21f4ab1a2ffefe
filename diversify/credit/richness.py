"""How many classes the source of some texts has, and how evenly it uses them: labels to a number."""

import math

import numpy as np

from diversify.credit.checks import Floats, Labels, check_labels
from diversify.kernels import check_integer
from diversify.measures import effective_number


def unseen_mass(labels: Labels) -> float:
    r"""Estimate how probable it is that the next draw says something new, in [0, 1].

    .. math:: \hat m = f_1 / n

    `f_1` is the number of classes that came exactly once among n draws (Good-Turing). For
    independent draws from one distribution its mean is the mass unseen after n - 1 of them. A small
    n proves little: eight draws of one class say 0, and where another class has a probability of
    0.2, 17 % of all rows of eight look like that.

    Args:
        labels: Classes (n,) of the draws so far.

    Returns:
        The estimate; 1 for no draws and for n different ones, 0 when every class has come twice.

    Raises:
        ValueError: If labels are not a vector of integers.

    Example:
        >>> unseen_mass(np.array([0, 0, 1, 2]))
        0.5

    Reference:
        Good, "The Population Frequencies of Species and the Estimation of Population Parameters",
        Biometrika 40 (1953), unsmoothed. For answers of language models: X. Li et al., "Evaluating
        the Unseen Capabilities: How Many Theorems Do LLMs Know?" (KnowSum), arXiv 2506.02058, which
        smooths, in order to look far ahead.
    """
    _, sizes = np.unique(check_labels(labels), return_counts=True)
    return float(np.sum(sizes == 1) / sizes.sum()) if sizes.size else 1.0


def semantic_entropy(labels: Labels) -> float:
    r"""Measure how evenly the texts are spread over their classes, in nats, from 0 to log n.

    .. math:: H = -\sum_c p_c \log p_c, \qquad p_c = |c| / n

    The entropy of the sample itself. As an estimate of the source's it is too low, the more so the
    fewer draws there are; it cannot exceed log n. Compare it at equal n, or use
    `chao_shen_entropy`.

    Args:
        labels: Classes (n,), one text or more.

    Raises:
        ValueError: If labels are not a vector of integers, or there is none.

    Example:
        >>> round(semantic_entropy(np.array([0, 0, 1, 1])), 4)
        0.6931

    Reference:
        Kuhn, Gal and Farquhar, "Semantic Uncertainty: Linguistic Invariances for Uncertainty
        Estimation in Natural Language Generation", arXiv 2302.09664, and Farquhar et al., Nature
        630 (2024): the discrete form, which counts texts instead of adding their likelihoods.
    """
    return math.log(effective_classes(labels))


def effective_classes(labels: Labels, *, order: float = 1.0) -> float:
    r"""Count the classes in effect, from 1 to the number of classes.

    .. math:: \Big(\sum_c p_c^q\Big)^{1/(1-q)}, \qquad e^H \text{ at } q = 1

    k classes of equal size count k. At order 1 it is exp of `semantic_entropy`, and what `vendi`
    gives for texts that are identical within classes and orthogonal between them.

    Args:
        labels: Classes (n,), one text or more.
        order: q in (0, inf]. Small orders weigh rare classes up; inf looks at the largest only.

    Raises:
        ValueError: If labels are not a vector of integers, there is none, or `order` is not above
            0.

    Example:
        >>> round(effective_classes(np.array([0, 0, 0, 1])), 4)
        1.7548

    Reference:
        Hill, "Diversity and Evenness: A Unifying Notation and Its Consequences", Ecology 54 (1973).
    """
    if not order > 0:
        raise ValueError(f"order must be in (0, inf], got {order}")
    return float(effective_number(_sizes(labels), order=order))


def chao_shen_entropy(labels: Labels) -> float:
    r"""Estimate the entropy of the source, classes that have not come included, in nats.

    .. math::
        \hat H = -\sum_c \frac{\tilde p_c \log \tilde p_c}{1 - (1 - \tilde p_c)^n}, \qquad
        \tilde p_c = \Big(1 - \frac{f_1}{n}\Big) \frac{|c|}{n}

    The shares are shrunk by the mass that is still unseen (`unseen_mass`), and each term is divided
    by the probability that its class has come at all. Where every class came once, no mass at all
    would count as seen; `f_1` is n - 1 then. exp of the estimate is an effective number.

    Args:
        labels: Classes (n,) of independent draws, one or more.

    Returns:
        The estimate; 0 where there is one class. It may exceed log n.

    Raises:
        ValueError: If labels are not a vector of integers, or there is none.

    Example:
        >>> labels = np.array([0, 0, 1])
        >>> round(semantic_entropy(labels), 4), round(chao_shen_entropy(labels), 4)
        (0.6365, 1.0662)

    Reference:
        Chao and Shen, "Nonparametric Estimation of Shannon's Index of Diversity When There Are
        Unseen Species in Sample", Environmental and Ecological Statistics 10 (2003). Deviation:
        the rule for n classes of one, without which the estimate would be infinite.
    """
    sizes = _sizes(labels)
    n = sizes.sum()
    once = min(np.sum(sizes == 1), n - 1)
    share = (1 - once / n) * sizes / n
    # In logarithms, because (1 - share) ** n is 1 up to rounding for tiny shares.
    with np.errstate(divide="ignore"):
        seen = -np.expm1(n * np.log1p(-share))
    return float(np.sum(-share * np.log(share) / seen)) + 0.0


def rarefied_classes(labels: Labels, *, size: int, without: int | None = None) -> float:
    r"""Count the classes among `size` of the n texts, drawn without putting back, on average.

    .. math:: \sum_c \left[ 1 - \binom{n - |c|}{k} \Big/ \binom{n}{k} \right]

    The exact mean over all subsets. A count of classes grows with the number of draws, so runs of
    different n are compared at the size of the smaller one.

    Args:
        labels: Classes (n,), one text or more.
        size: k, from 1 (where the result is 1) to n (where it is the number of classes).
        without: A label whose texts are drawn like others but are no class, such as that of
            answers that are not valid.

    Raises:
        ValueError: If labels are not a vector of integers, there is none, or `size` is not between
            1 and n.

    Example:
        >>> round(rarefied_classes(np.array([0, 0, 1, 2]), size=2), 4)
        1.8333

    Reference:
        Hurlbert, "The Nonconcept of Species Diversity: A Critique and Alternative Parameters",
        Ecology 52 (1971).
    """
    labels = check_labels(labels)
    n = len(labels)
    if not n:
        raise ValueError("labels must be those of one text or more, got none")
    found, counts = np.unique(labels, return_counts=True)
    sizes = [int(c) for label, c in zip(found, counts, strict=True) if label != without]
    size = check_integer("size", size, 1, n)
    every = math.comb(n, size)
    # Whole numbers until the one division: exact for any n.
    return sum(every - math.comb(n - count, size) for count in sizes) / every


def _sizes(labels: Labels) -> Floats:
    """Count the members of each class, as floats."""
    labels = check_labels(labels)
    if not labels.size:
        raise ValueError("labels must be those of one text or more, got none")
    return np.unique(labels, return_counts=True)[1].astype(np.float64)
