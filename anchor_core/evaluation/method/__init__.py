"""The benchmark that proves the method: the paper's ablations, trained and measured on synthetic people."""
