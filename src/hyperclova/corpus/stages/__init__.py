"""The stages of a build: each a function from files to files, so that any number of processes on
any number of machines that share the output directory do the same work and none does it twice."""
