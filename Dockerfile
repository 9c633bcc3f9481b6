# docker build -t registry.example.com/cluster-tunnel:0.1.0 .
#
# The base has to be one with Python 3.11 or newer and its pip; its OpenSSL is the one that everything is encrypted with.
ARG BASE=python:3.13-slim-trixie

FROM ${BASE} AS build
# Another index than the public one: --build-arg PIP_INDEX_URL=…; the hashes hold for it too.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# The lock file holds the tools for development too; they are fetched, checked and left behind here.
COPY requirements.lock requirements-build.lock ./
RUN python3 -m pip download --quiet --no-deps --only-binary :all: --require-hashes --dest wheels -r requirements.lock
# pip would fetch the newest build backend there is, and run it.
RUN python3 -m venv --without-pip backend \
    && python3 -m pip --python backend/bin/python install --quiet --no-deps --only-binary :all: --require-hashes -r requirements-build.lock
COPY pyproject.toml README.md LICENSE ./
COPY tunnel tunnel
COPY agent agent
COPY stub stub
COPY certs certs
RUN python3 -m pip --python backend/bin/python wheel --quiet --no-deps --no-index --no-build-isolation --wheel-dir wheels .
# The byte code is made here, because the root file system of a Pod is read-only; and it is taken unchecked, because some builders set
# the times of files anew, and byte code with another time is made again at each start: 2.9 s instead of 0.6 for kubernetes-asyncio alone.
RUN python3 -m venv --without-pip /opt/cluster-tunnel \
    && python3 -m pip --python /opt/cluster-tunnel/bin/python install --quiet --no-compile --no-index --find-links wheels cluster-tunnel \
    && python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/cluster-tunnel/lib

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="cluster-tunnel" \
    org.opencontainers.image.description="Reach the complete, unmodified Kubernetes API of clusters on private networks." \
    org.opencontainers.image.licenses="Apache-2.0" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/cluster-tunnel/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
# Python's official images come without byte code of the standard library, and each process would compile it: 0.6 s of CPU at each start.
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash -x '/(test|idlelib|turtledemo|lib2to3|site-packages|dist-packages)/' \
    "$(python3 -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/cluster-tunnel /opt/cluster-tunnel
# A number: Kubernetes cannot tell whether a name is root.
USER 65532:65532
ENTRYPOINT ["cluster-tunnel"]
