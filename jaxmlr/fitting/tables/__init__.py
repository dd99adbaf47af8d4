"""All that `jaxmlr fit` does: read a file, build regressors, fit, report, draw."""
