"""The end inside a private cluster: dials out to stubs and asks the apiserver on their behalf."""
