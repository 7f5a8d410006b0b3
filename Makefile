# make           release artefacts of the C library: target/capi/
# make install   into PREFIX (default /usr/local), below DESTDIR if set
# make uninstall

PREFIX     = /usr/local
LIBDIR     = $(PREFIX)/lib
INCLUDEDIR = $(PREFIX)/include
CARGO      = cargo
STRIP      = strip
# Where cargo builds; set it when the source is read-only.
TARGET_DIR = target

version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
major   := $(firstword $(subst ., ,$(version)))
capi    := $(TARGET_DIR)/capi
shared  := liboneaccess.so.$(version)
sources := $(shell find src -name '*.rs') Cargo.toml Cargo.lock build.rs
# One crate type at a time: together with an rlib cargo silently leaves LTO out.
build    = $(CARGO) rustc --release --locked --lib --target-dir $(TARGET_DIR) --crate-type

all: $(capi)/$(shared) $(capi)/liboneaccess.a

$(capi)/$(shared): $(sources)
	$(build) cdylib
	mkdir -p $(capi)
	cp $(TARGET_DIR)/release/liboneaccess.so $@
	ln -sf $(shared) $(capi)/liboneaccess.so.$(major)
	ln -sf liboneaccess.so.$(major) $(capi)/liboneaccess.so

$(capi)/liboneaccess.a: $(sources) | $(capi)/$(shared)
	$(build) staticlib
	cp $(TARGET_DIR)/release/liboneaccess.a $@
	$(STRIP) --strip-unneeded $@

clean:
	rm -rf $(capi)

.PHONY: all clean
