# Two commands are all there is to set up: `make demo` and `make test`.

CARGO ?= cargo
PYTHON ?= python3
DEMO := out/demo

.PHONY: demo test test-arm fuzz setup dist deb cross lint doc bench bench-peers bench-storage bench-latency clean

## demo: builds hemapatch, makes two synthetic head CT series and triages both
demo:
	$(CARGO) build --release --bin hemapatch
	rm -rf $(DEMO)
	target/release/hemapatch phantom -o $(DEMO)/bleed/dicom --seed 1 --site putamen --volume-ml 30
	target/release/hemapatch phantom -o $(DEMO)/clean/dicom --seed 2
	target/release/hemapatch triage $(DEMO)/bleed/dicom -o $(DEMO)/bleed
	target/release/hemapatch triage $(DEMO)/clean/dicom -o $(DEMO)/clean
	@echo "Pictures and reports: $(DEMO)/bleed, $(DEMO)/clean"

## test: installs what the tests need, then runs all of them: the trainer's, a short run of each fuzz target, and those for
## emulated ARM processors
test: setup
	$(CARGO) test --workspace
	scripts/fuzz short
	scripts/arm setup
	scripts/arm test

## test-arm: what must give the same bits on ARM, on emulated processors; installs what that needs
test-arm:
	scripts/arm setup
	scripts/arm test

## fuzz: a long run of each fuzz target, or of TARGET; SECONDS each (docs/fuzzing.md)
SECONDS ?= 7200
fuzz:
	scripts/fuzz long $(SECONDS) $(TARGET)

## dist: the program as it is handed to users: smaller, linked with optimization across crates; takes minutes
dist:
	$(CARGO) build --profile dist --bin hemapatch
	@ls -l target/dist/hemapatch

## deb: the Debian package for this processor, in target/debian; `scripts/deb arm64` after `make cross`
deb: dist
	scripts/deb

## cross: the program for aarch64 (also fully static) and armv7, in target/cross
cross:
	scripts/arm build

## setup: libtorch for the trainer, Python peers, the DICOM validator; safe to run twice
setup:
	PYTHON="$(PYTHON)" scripts/setup

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

doc:
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

bench:
	$(CARGO) bench --bench pipeline --bench reading --bench network --bench kernels

## bench-peers: hemapatch beside ONNX Runtime and OpenVINO, in turns; installs them, writes a record, prints README's table
bench-peers:
	PYTHON="$(PYTHON)" benches/peers/setup
	benches/peers/.venv/bin/python benches/peers/compare.py $(PEERS)

## bench-storage: how many slices a second the service keeps, beside storescp and Orthanc, in turns; installs them
bench-storage:
	scripts/apt dcmtk orthanc
	$(CARGO) build --release --bin hemapatch
	$(PYTHON) benches/peers/storage.py $(PEERS)

## bench-latency: how soon the service tells, after the last slice that storescu sends; installs that
bench-latency:
	scripts/apt dcmtk
	$(CARGO) build --release --bin hemapatch
	$(PYTHON) benches/peers/latency.py
	$(PYTHON) benches/peers/latency.py --pace 0.2

clean:
	$(CARGO) clean
	rm -rf out
