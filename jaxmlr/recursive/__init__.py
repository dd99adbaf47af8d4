"""Recursive methods, one a file."""

from jaxmlr.recursive.averaged import AveragedState as AveragedState
from jaxmlr.recursive.averaged import averaged as averaged
from jaxmlr.recursive.fisher_scoring import FisherScoringState as FisherScoringState
from jaxmlr.recursive.fisher_scoring import fisher_scoring as fisher_scoring
from jaxmlr.recursive.least_squares import LeastSquaresState as LeastSquaresState
from jaxmlr.recursive.least_squares import least_squares as least_squares
from jaxmlr.recursive.midpoint_em import MidpointEmState as MidpointEmState
from jaxmlr.recursive.midpoint_em import midpoint_em as midpoint_em
from jaxmlr.recursive.multistart_em import MultistartEmState as MultistartEmState
from jaxmlr.recursive.multistart_em import multistart_em as multistart_em
from jaxmlr.recursive.natural_gradient import NaturalGradientState as NaturalGradientState
from jaxmlr.recursive.natural_gradient import natural_gradient as natural_gradient
from jaxmlr.recursive.online_em import OnlineEmState as OnlineEmState
from jaxmlr.recursive.online_em import online_em as online_em
from jaxmlr.recursive.online_gradient import OnlineGradientState as OnlineGradientState
from jaxmlr.recursive.online_gradient import online_gradient as online_gradient
from jaxmlr.recursive.oracle import oracle as oracle
from jaxmlr.recursive.recursive_em import RecursiveEmState as RecursiveEmState
from jaxmlr.recursive.recursive_em import recursive_em as recursive_em
from jaxmlr.recursive.second_moment import SecondMomentState as SecondMomentState
from jaxmlr.recursive.second_moment import second_moment as second_moment
from jaxmlr.recursive.symmetric_em import SymmetricEmState as SymmetricEmState
from jaxmlr.recursive.symmetric_em import symmetric_em as symmetric_em
from jaxmlr.recursive.two_step import TwoStepState as TwoStepState
from jaxmlr.recursive.two_step import two_step as two_step
