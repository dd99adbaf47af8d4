"""Batch methods: each is a function from a data set to a `Fit`."""

from jaxmlr.batch.em import Fit as Fit
from jaxmlr.batch.em import em as em
from jaxmlr.batch.hard_em import hard_em as hard_em
from jaxmlr.batch.partition import from_labels as from_labels
from jaxmlr.batch.partition import from_posterior as from_posterior
