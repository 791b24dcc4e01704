# SPDX-License-Identifier: Apache-2.0
#
# One target per service: docker build --target calculator .     (power has two)
#
# An image holds Python, its service's own lock and the libraries of both: no shell, no package manager, nothing that
# could change a user. The first layer is the same for all five. Works with BuildKit and with the older builder.

ARG BASE=debian:bookworm-slim

# --- what builds -----------------------------------------------------------------------------------------------------

FROM ${BASE} AS tools
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3 python3-pip \
 && rm -rf /var/lib/apt/lists/*
ENV PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

FROM tools AS wheel
COPY requirements/build.txt /
RUN pip install --require-hashes --requirement /build.txt
WORKDIR /source
COPY pyproject.toml README.md ./
COPY wattline wattline
COPY services services
RUN python3 -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

# What all five have: Python and the wire.
FROM tools AS common-build
COPY requirements/common.txt /
RUN pip install --require-hashes --requirement /common.txt
COPY --from=wheel /wheels /wheels
COPY scripts/image_root.py /
RUN pip install --no-deps /wheels/*.whl && python3 /image_root.py /root/common

FROM common-build AS calculator-build
COPY requirements/calculator.txt /
RUN pip install --require-hashes --requirement /calculator.txt \
 && python3 /image_root.py /root/own --beyond /root/common

FROM common-build AS exporter-build
COPY requirements/exporter.txt /
RUN pip install --require-hashes --requirement /exporter.txt \
 && python3 /image_root.py /root/own --beyond /root/common

# Debian's BCC, before any source so that it is kept when that changes. Its libraries are asked for by name.
FROM tools AS bcc
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-bpfcc \
 && rm -rf /var/lib/apt/lists/*

FROM bcc AS probe-build
COPY --from=common-build /wheels /wheels
COPY --from=common-build /root/common /root/common
COPY scripts/image_root.py requirements/probe.txt /
RUN pip install --require-hashes --requirement /probe.txt \
 && pip install --no-deps /wheels/*.whl \
 && python3 /image_root.py /root/own --beyond /root/common --library libbcc.so.0

FROM common-build AS power-build
COPY requirements/power.txt /
RUN pip install --require-hashes --requirement /power.txt \
 && python3 /image_root.py /root/own --beyond /root/common

FROM common-build AS power-bmc-build
COPY requirements/redfish.txt /
RUN pip install --require-hashes --requirement /redfish.txt \
 && python3 /image_root.py /root/own --beyond /root/common

FROM common-build AS metadata-build
COPY requirements/metadata.txt requirements/kubernetes.txt /
# Of the package kubernetes metadata never imports the API groups and the models, 16 of its 17 MB (docs/kubernetes.md).
RUN pip install --require-hashes --requirement /metadata.txt --requirement /kubernetes.txt \
 && python3 /image_root.py /root/own --beyond /root/common --without kubernetes/client/api kubernetes/client/models

# --- what runs -------------------------------------------------------------------------------------------------------

FROM scratch AS service
COPY --from=common-build /root/common /
ENV PATH=/usr/local/bin:/usr/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    WATTLINE_RUN=/run/wattline
LABEL org.opencontainers.image.title="wattline" \
      org.opencontainers.image.description="Joules per process and container, with books that close" \
      org.opencontainers.image.licenses="Apache-2.0 AND (GPL-2.0-only OR BSD-2-Clause)"
ENTRYPOINT ["wattline"]

# Each check starts a Python, which costs more than a minute of most services: hence once a minute.
# The group is common to all, the user its number plus the service's place in the pipeline; root stands for the probe,
# since bpffs and tracefs are root's (docs/decisions/0011-users-in-compose.md).

FROM service AS probe
COPY --from=probe-build /root/own /
LABEL org.opencontainers.image.title="wattline-probe"
USER 0:60600
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s --retries=2 CMD ["wattline", "health", "probe"]
CMD ["probe"]

FROM service AS power
COPY --from=power-build /root/own /
# Only root may read RAPL. A user of its own gets CAP_DAC_READ_SEARCH from the file that it runs: "effective, permitted
# = bit 2" as include/uapi/linux/capability.h has it (VFS_CAP_REVISION_2).
RUN ["/usr/bin/python3", "-c", "import os; os.setxattr(os.path.realpath('/usr/bin/python3'), 'security.capability', bytes.fromhex('0100000204000000000000000000000000000000'))"]
LABEL org.opencontainers.image.title="wattline-power"
USER 60601:60600
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s --retries=2 CMD ["wattline", "health", "power"]
CMD ["power"]

# The same code without that capability, and with the package for Redfish: a power stream that asks a BMC.
FROM service AS power-bmc
COPY --from=power-bmc-build /root/own /
LABEL org.opencontainers.image.title="wattline-power-bmc"
ENV WATTLINE_NAME=power-bmc
USER 60610:60600
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s --retries=2 CMD ["wattline", "health", "power-bmc"]
CMD ["power"]

FROM service AS metadata
COPY --from=metadata-build /root/own /
LABEL org.opencontainers.image.title="wattline-metadata"
USER 60602:60600
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s --retries=2 CMD ["wattline", "health", "metadata"]
CMD ["metadata"]

FROM service AS calculator
COPY --from=calculator-build /root/own /
LABEL org.opencontainers.image.title="wattline-calculator"
USER 60603:60600
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s --retries=2 CMD ["wattline", "health", "calculator"]
CMD ["calculator"]

FROM service AS exporter
COPY --from=exporter-build /root/own /
LABEL org.opencontainers.image.title="wattline-exporter"
ENV WATTLINE_WEB_LISTEN_ADDRESS=:28283
EXPOSE 28283
USER 60604:60600
HEALTHCHECK --interval=60s --timeout=10s --start-period=60s --retries=2 CMD ["wattline", "health", "exporter"]
CMD ["exporter"]
