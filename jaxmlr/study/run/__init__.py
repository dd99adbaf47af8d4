"""Running blocks on devices and machines, and keeping what is finished."""
