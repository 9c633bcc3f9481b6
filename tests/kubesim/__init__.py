"""A Kubernetes API in one process, for tests and for trying things out; real kubectl talks to it.

    python -m tests.kubesim --dir DIR          prints `kubesim: ready DIR/kubeconfig`
    async with KubeSim.start(directory) as sim: ...        (tests.kubesim.simulator)

It stores what it is given as the apiserver does (versions, patches, field ownership, watches, tables), authenticates and
authorizes by RBAC, runs small controllers, and starts pods' containers as real processes. It shares no code with the
tunnel, so that both cannot share one mistake.

What it is not: images are names (commands come from the host), pods have their own files, processes, host name and
loopback, but reach neither each other nor services (nor the API) over the network, and there are no resource limits, volumes besides
the service account's, custom resources or admission webhooks. It answers in JSON and YAML only; protobuf bodies are read.
Where the kernel allows no namespaces, pods share the host's /tmp and ports (launcher.py).
"""
