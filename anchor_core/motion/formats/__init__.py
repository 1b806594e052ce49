"""One module per kind of motion file; each turns a file into the common `Motion`."""
