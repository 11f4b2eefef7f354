# The image holds the programs, the certificates of public authorities and the licences: no shell, no package manager. `make image`
# makes what is copied here (dist/image), so that the build itself needs no network and no compiler.
FROM scratch AS programs
COPY rootfs/ /
USER 65532:65532
EXPOSE 8080 8081 9090 9092
# For the worker, which is what runs unless another program is named. The monitor's: ["monitor", "health"].
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["worker", "health"]
CMD ["worker"]

# With the simulator of NPHIES and Teams, and the examples: for trying.
FROM programs AS demo
COPY demo/ /

FROM programs AS production
