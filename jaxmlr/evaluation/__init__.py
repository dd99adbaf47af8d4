"""How good an estimate is, how good it can be, and which hyper-parameters make it so."""
