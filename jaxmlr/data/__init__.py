"""Where data come from: noise, regressor processes, and the mixtures that they drive."""
