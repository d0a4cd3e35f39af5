# Weft with its workers and its service, on PyTorch for the CPU.
FROM python:3.11-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
COPY . /src
RUN pip install --no-cache-dir --prefix=/install --constraint /src/constraints.txt '/src[workers,service,pdf]'

FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/*
COPY --from=build /install /usr/local
RUN useradd --create-home weft && mkdir /index && chown weft /index
USER weft
CMD ["weft", "--help"]
