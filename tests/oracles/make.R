# The answers of plain R, flexmix and mixtools to data sets simulated here: `Rscript make.R` writes them anew.
# Needs flexmix, mixtools and jsonlite.
suppressPackageStartupMessages({library(flexmix); library(mixtools); library(jsonlite)})

draw <- function(seed, n, x, beta, weights, sigma) {
  set.seed(seed)
  columns <- x(n)
  label <- sample(length(weights), n, TRUE, weights)
  y <- rowSums(cbind(1, as.matrix(columns)) * beta[label, ]) + sigma[label] * rnorm(n)
  data.frame(columns, y = y, label = label)
}

DATA <- list(
  sim_pitch = draw(1, 150, function(n) data.frame(x = runif(n, 1.3, 3)),
                   rbind(c(1.9, .04), c(0, 1)), c(.7, .3), c(.05, .13)),
  sim_curve = draw(2, 200, function(n) {x <- runif(n, 0, 10); data.frame(x = x, x2 = x^2)},
                   rbind(c(0, 5, 0), c(15, 10, -1)), c(.5, .5), c(3, 3)),
  sim_factors = draw(3, 300, function(n) data.frame(x1 = rnorm(n), x2 = rep(0:1, length.out = n), x3 = rnorm(n)),
                     rbind(c(3, -2, 1, .5), c(0, 4, -3, 1), c(-4, 1, 2, 2)), c(.5, .3, .2), c(.6, 1, .5)),
  sim_small = draw(4, 51, function(n) data.frame(x = round(runif(n, 1, 300))),
                   rbind(c(1, 0), c(1, .06)), c(.55, .45), c(1, 3))
)

joint <- function(m, X, y) {
  s <- rep(m$sigma, length.out = length(m$lambda))
  sapply(seq_along(m$lambda), function(k) log(m$lambda[k]) + dnorm(y, X %*% m$beta[k, ], s[k], log = TRUE))
}
log_density <- function(m, X, y) {l <- joint(m, X, y); top <- apply(l, 1, max); top + log(rowSums(exp(l - top)))}
loglik <- function(m, X, y) sum(log_density(m, X, y))
posterior <- function(m, X, y) exp(joint(m, X, y) - log_density(m, X, y))

em_step <- function(m, X, y, equal) {
  r <- posterior(m, X, y)
  fits <- lapply(seq_along(m$lambda), function(k) lm.wfit(X, y, r[, k]))
  square <- sapply(seq_along(fits), function(k) sum(r[, k] * fits[[k]]$residuals^2))
  sigma <- if (equal) sqrt(sum(square) / length(y)) else sqrt(square / colSums(r))
  list(lambda = colMeans(r), beta = t(sapply(fits, function(f) unname(f$coefficients))), sigma = sigma)
}
em <- function(m, X, y, equal, steps) {for (i in seq_len(steps)) m <- em_step(m, X, y, equal); m}
to_fixed_point <- function(m, X, y, equal) {
  for (i in 1:200000) {
    new <- em_step(m, X, y, equal)
    done <- max(abs(unlist(new) / unlist(m) - 1)) < 1e-13
    m <- new
    if (done) break
  }
  m
}
in_order <- function(m) {
  o <- order(m$beta[, ncol(m$beta)])
  list(lambda = m$lambda[o], beta = m$beta[o, , drop = FALSE], sigma = if (length(m$sigma) > 1) m$sigma[o] else m$sigma)
}

# Standard errors of (beta, sigma, lambda) by Richardson extrapolation of central second differences.
standard_errors <- function(m, X, y) {
  K <- length(m$lambda)
  pack <- c(t(m$beta), m$sigma, m$lambda[-K])
  value <- function(t) {
    beta <- matrix(t[seq_len(K * ncol(X))], K, byrow = TRUE)
    sigma <- t[K * ncol(X) + seq_along(m$sigma)]
    lambda <- t[-seq_len(K * ncol(X) + length(m$sigma))]
    loglik(list(lambda = c(lambda, 1 - sum(lambda)), beta = beta, sigma = sigma), X, y)
  }
  q <- length(pack)
  unit <- sapply(seq_len(q), function(i) {e <- replace(numeric(q), i, 1e-4 * max(abs(pack[i]), 1e-2))
    1 / sqrt(-(value(pack + e) - 2 * value(pack) + value(pack - e)) / sum(e)^2)})
  differences <- function(h) outer(seq_len(q), seq_len(q), Vectorize(function(i, j) {
    a <- replace(numeric(q), i, h * unit[i]); b <- replace(numeric(q), j, h * unit[j])
    (value(pack + a + b) - value(pack + a - b) - value(pack - a + b) + value(pack - a - b)) / (4 * h^2)}))
  h <- 0.04
  d1 <- differences(h); d2 <- differences(h / 2); d3 <- differences(h / 4)
  e1 <- (4 * d2 - d1) / 3; e2 <- (4 * d3 - d2) / 3
  se <- unit * sqrt(diag(solve(-(16 * e2 - e1) / 15)))
  list(se_beta = matrix(se[seq_len(K * ncol(X))], K, byrow = TRUE),
       se_sigma = se[K * ncol(X) + seq_along(m$sigma)],
       se_lambda = se[-seq_len(K * ncol(X) + length(m$sigma))])
}

of_flexmix <- function(model, X, y) {
  p <- parameters(model)
  d <- ncol(X)
  m <- list(lambda = unname(prior(model)), beta = unname(t(p[1:d, , drop = FALSE])), sigma = unname(p[d + 1, ]))
  o <- order(m$beta[, d])
  c(in_order(m), list(sizes = tabulate(clusters(model), length(o))[o]))
}

answer <- function(name, data, K, equal = FALSE) {
  y <- data$y
  X <- cbind(1, as.matrix(data[setdiff(names(data), c("y", "label"))]))
  n <- length(y); d <- ncol(X)
  truth <- split(seq_len(n), if (max(data$label) == K) data$label else rep_len(seq_len(K), n))
  rough <- t(sapply(truth, function(i) unname(lm.fit(X[i, ], y[i])$coefficients)))
  scale <- sd(unlist(lapply(truth, function(i) lm.fit(X[i, ], y[i])$residuals)))
  set.seed(99)
  start <- list(lambda = rep(1 / K, K), beta = rough * matrix(runif(K * d, .9, 1.1), K),
                sigma = if (equal) 1.5 * scale else scale * seq(1, 2, length.out = K))
  best <- in_order(to_fixed_point(start, X, y, equal))
  ll <- loglik(best, X, y)
  npar <- K * d + K - 1 + length(best$sigma)
  r <- posterior(best, X, y)
  bic <- -2 * ll + npar * log(n)
  mle <- c(best, list(loglik = ll, npar = npar, AIC = -2 * ll + 2 * npar, BIC = bic,
    ICL_entropy = bic - 2 * sum(ifelse(r > 0, r * log(r), 0)), ICL_map = bic - 2 * sum(log(apply(r, 1, max))),
    posterior_first5 = r[1:5, ], map_counts = tabulate(max.col(r), K)))
  out <- list(name = name, csv = paste0("data/", sub("__.*", "", name), ".csv"), n = n, p = d, K = K,
              intercept = TRUE, equal_variance = equal, mle = mle)
  utils::capture.output(path <- regmixEM(y, X, lambda = start$lambda, beta = t(start$beta), sigma = start$sigma, k = K,
                                         addintercept = FALSE, arbvar = !equal, epsilon = 1e-9, maxit = 5000))
  out$mixtools <- list(start = start, restarts = path$restarts, loglik_trajectory = path$all.loglik)
  for (steps in c(1, 5)) {
    m <- em(start, X, y, equal, steps)
    out[[paste0("em_after_", steps)]] <- c(m, list(loglik = loglik(m, X, y)))
  }
  if (!equal) {
    control <- list(tolerance = 1e-14, iter.max = 5000, minprior = 0)
    soft <- flexmix(y ~ 0 + X, k = K, cluster = r, control = control)
    out$flexmix <- c(of_flexmix(soft, X, y), list(loglik = as.numeric(logLik(soft))))
    labels <- max.col(joint(start, X, y))
    hard <- flexmix(y ~ 0 + X, k = K, cluster = labels, control = c(control, classify = "hard"))
    m <- of_flexmix(hard, X, y)
    by_labels <- list(lambda = m$sizes / n, beta = m$beta, sigma = m$sigma)
    out$flexmix_hard <- c(m[c("lambda", "beta", "sigma")],
                          list(cluster_sizes = m$sizes, loglik = loglik(by_labels, X, y)))
  }
  out$observed_information <- standard_errors(best, X, y)
  write(toJSON(out, digits = NA, auto_unbox = TRUE, matrix = "rowmajor"), paste0(name, ".json"))
  cat(name, ll, "mixtools restarts", path$restarts, "steps", length(path$all.loglik), "\n")
}

for (name in names(DATA)) {
  table <- DATA[[name]]
  table[] <- lapply(table, function(x) if (is.integer(x)) x else as.numeric(formatC(x, digits = 17, format = "g")))
  write.table(format(table, digits = 17, trim = TRUE), paste0("data/", name, ".csv"), sep = ",", quote = FALSE, row.names = FALSE)
  table <- read.csv(paste0("data/", name, ".csv"))
  answer(name, table, max(table$label))
  if (name %in% c("sim_pitch", "sim_small")) answer(paste0(name, "__equalvar"), table, 2, TRUE)
  if (name == "sim_pitch") answer(paste0(name, "__k3"), table, 3)
}

# One line and two variances: EM whose M-step is least squares with the precisions, then the variances.
table <- read.csv("../../jaxmlr/data/tables/engel.csv")
X <- cbind(1, table$income_k)
y <- table$foodexp_k
m <- list(lambda = c(.5, .5), beta = rbind(c(.1, .5), c(.1, .5)), sigma = c(.05, .2))
for (i in 1:100000) {
  r <- posterior(m, X, y)
  fitted <- lm.wfit(X, y, as.vector(r %*% (1 / m$sigma^2)))
  new <- list(lambda = colMeans(r), beta = rbind(fitted$coefficients, fitted$coefficients),
              sigma = sqrt(colSums(r * fitted$residuals^2) / colSums(r)))
  moved <- max(abs(unlist(new) / unlist(m) - 1))
  m <- new
  if (moved < 1e-13) break
}
write(toJSON(list(name = "engel__common_beta", csv = "../../jaxmlr/data/tables/engel.csv", loglik = loglik(m, X, y),
                  lambda = m$lambda, beta = m$beta[1, ], sigma = m$sigma),
             digits = NA, auto_unbox = TRUE), "engel__common_beta.json")
cat("common", loglik(m, X, y), i, moved, m$sigma, m$lambda, "\n")
