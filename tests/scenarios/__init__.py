"""What kubectl does, written once: played against the simulator and real clusters, directly and through the tunnel."""
