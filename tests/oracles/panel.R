# flexmix's answers to a panel simulated here, where membership depends on w: `Rscript panel.R` writes them anew.
suppressPackageStartupMessages({library(flexmix); library(jsonlite)})
set.seed(5)
groups <- 60
id <- rep(seq_len(groups), length.out = 5 * groups)
w <- round(rnorm(groups), 6)
label <- 1 + (runif(groups) < plogis(-.5 + 1.5 * w))
x <- round(rnorm(5 * groups) + .5 * w[id], 6)
z <- round(rnorm(5 * groups), 6)
y <- round(ifelse(label[id] == 1, 1 - x, -1 + x) + .7 * z + .8 * rnorm(5 * groups), 6)
panel <- data.frame(id, w = w[id], x, z, y, label = label[id])
write.csv(panel, "../../jaxmlr/data/tables/panel.csv", row.names = FALSE)

control <- list(iter.max = 20000, tolerance = 1e-15, minprior = 0)
answer <- function(formula, model = FLXMRglm(), gate = FLXPconstant()) {
  fit <- flexmix(formula, panel, k = 2, cluster = label[id], model = model, concomitant = gate, control = control)
  p <- parameters(fit)
  beta <- t(p[grep("coef", rownames(p)), , drop = FALSE])
  out <- list(beta = unname(beta), sigma = unname(p["sigma", ]), loglik = as.numeric(logLik(fit)),
              df = attr(logLik(fit), "df"), BIC = BIC(fit), ICL = ICL(fit), lambda = prior(fit),
              posterior_first3 = posterior(fit)[1:3, ], names = colnames(beta))
  if (!is(gate, "FLXPconstant") || nrow(as.matrix(fit@concomitant@coef)) > 1) out$gate <- unname(t(fit@concomitant@coef))
  out
}
answers <- list(
  plain = answer(y ~ x + z),
  grouped = answer(y ~ x + z | id),
  gated = answer(y ~ x + z, gate = FLXPmultinom(~ w)),
  gated_grouped = answer(y ~ x + z | id, gate = FLXPmultinom(~ w)),
  common = answer(y ~ x, model = FLXMRglmfix(fixed = ~ z)),
  common_variance = answer(y ~ x, model = FLXMRglmfix(fixed = ~ z, varFix = TRUE))
)
write(toJSON(c(list(csv = "../../jaxmlr/data/tables/panel.csv"), answers), digits = I(15), auto_unbox = TRUE), "sim_panel.json")
