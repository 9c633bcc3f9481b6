"""What `cluster-tunnel up` is made of: everything on one machine, as child processes of one command."""
