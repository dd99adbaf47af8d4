"""Recursive methods, one a file."""

from jaxmlr.recursive.least_squares import LeastSquaresState as LeastSquaresState
from jaxmlr.recursive.least_squares import least_squares as least_squares
from jaxmlr.recursive.oracle import oracle as oracle
from jaxmlr.recursive.two_step import TwoStepState as TwoStepState
from jaxmlr.recursive.two_step import two_step as two_step
