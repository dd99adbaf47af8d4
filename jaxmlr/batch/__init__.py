"""Batch methods: each is a function from a data set to a `Fit`; and what is asked of a fit."""

from jaxmlr.batch.constraints import Constraints as Constraints
from jaxmlr.batch.em import em as em
from jaxmlr.batch.em import hard_em as hard_em
from jaxmlr.batch.fit import fit as fit
from jaxmlr.batch.gate import predict as predict
from jaxmlr.batch.gate import prior as prior
from jaxmlr.batch.gradient import gradient as gradient
from jaxmlr.batch.inference import covariance as covariance
from jaxmlr.batch.inference import gate_errors as gate_errors
from jaxmlr.batch.inference import standard_errors as standard_errors
from jaxmlr.batch.intervals import bands as bands
from jaxmlr.batch.intervals import confidence_intervals as confidence_intervals
from jaxmlr.batch.outcome import Fit as Fit
from jaxmlr.batch.partition import from_labels as from_labels
from jaxmlr.batch.partition import from_posterior as from_posterior
from jaxmlr.batch.posterior import outliers as outliers
from jaxmlr.batch.posterior import posterior as posterior
from jaxmlr.batch.select import BootstrapTest as BootstrapTest
from jaxmlr.batch.select import Selection as Selection
from jaxmlr.batch.select import aic as aic
from jaxmlr.batch.select import bic as bic
from jaxmlr.batch.select import bootstrap_test as bootstrap_test
from jaxmlr.batch.select import icl as icl
from jaxmlr.batch.select import select as select
