# make             builds the C library, shared and static, and the program oneaccess-token, in
#                  target/capi
# make install     installs it in $(DESTDIR)$(PREFIX); default: /usr/local
# make uninstall   removes the installed files; needs the same variables
# make packages    builds a Python wheel, an npm package and a Ruby gem, with the library inside, in
#                  target/packages; needs pip and its registry, npm and gem

PREFIX     = /usr/local
LIBDIR     = $(PREFIX)/lib
INCLUDEDIR = $(PREFIX)/include
BINDIR     = $(PREFIX)/bin
MANDIR     = $(PREFIX)/share/man
CFLAGS     = -O2
CARGO      = cargo
INSTALL    = install
STRIP      = strip
PYTHON     = python3
# The build folder of cargo. Set it if the source folder is read-only.
TARGET_DIR = target

version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
major   := $(firstword $(subst ., ,$(version)))
capi    := $(TARGET_DIR)/capi
shared  := liboneaccess.so.$(version)
native  := -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc
sources := $(shell find src -name '*.rs') Cargo.toml Cargo.lock build.rs
# Builds one crate type at a time: cargo silently disables LTO if an rlib is built too.
build    = $(CARGO) rustc --release --locked --lib --target-dir $(TARGET_DIR) --crate-type

pkgconfig = $(DESTDIR)$(LIBDIR)/pkgconfig
cmake     = $(DESTDIR)$(LIBDIR)/cmake/oneaccess
include_from_cmake = $(shell realpath -m --relative-to=$(LIBDIR)/cmake/oneaccess $(INCLUDEDIR))
fill = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|' \
  -e 's|@VERSION@|$(version)|' -e 's|@MAJOR@|$(major)|' -e 's|@NATIVE@|$(native)|' \
  -e 's|@INCLUDE_FROM_CMAKE@|$(include_from_cmake)|'

all: $(capi)/$(shared) $(capi)/liboneaccess.a $(capi)/oneaccess-token

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

# With the static library, so that it runs wherever it is installed.
$(capi)/oneaccess-token: examples-c/oneaccess-token.c include/oneaccess.h $(capi)/liboneaccess.a
	$(CC) -std=c11 $(CPPFLAGS) $(CFLAGS) -Iinclude $< $(capi)/liboneaccess.a $(LDFLAGS) $(native) -o $@
	$(STRIP) $@

install: all
	$(INSTALL) -d $(DESTDIR)$(LIBDIR) $(DESTDIR)$(INCLUDEDIR) $(pkgconfig) $(cmake)
	$(INSTALL) -d $(DESTDIR)$(BINDIR) $(DESTDIR)$(MANDIR)/man1
	$(INSTALL) -m 755 $(capi)/$(shared) $(DESTDIR)$(LIBDIR)
	ln -sf $(shared) $(DESTDIR)$(LIBDIR)/liboneaccess.so.$(major)
	ln -sf liboneaccess.so.$(major) $(DESTDIR)$(LIBDIR)/liboneaccess.so
	$(INSTALL) -m 644 $(capi)/liboneaccess.a $(DESTDIR)$(LIBDIR)
	$(INSTALL) -m 644 include/oneaccess.h bindings/cpp/oneaccess.hpp $(DESTDIR)$(INCLUDEDIR)
	$(INSTALL) -m 755 $(capi)/oneaccess-token $(DESTDIR)$(BINDIR)
	$(INSTALL) -m 644 packaging/oneaccess-token.1 $(DESTDIR)$(MANDIR)/man1
	$(fill) packaging/oneaccess.pc.in > $(pkgconfig)/oneaccess.pc
	$(fill) packaging/oneaccess-config.cmake.in > $(cmake)/oneaccess-config.cmake
	$(fill) packaging/oneaccess-config-version.cmake.in > $(cmake)/oneaccess-config-version.cmake

uninstall:
	rm -f $(DESTDIR)$(LIBDIR)/liboneaccess.a $(DESTDIR)$(LIBDIR)/liboneaccess.so
	rm -f $(DESTDIR)$(LIBDIR)/liboneaccess.so.$(major) $(DESTDIR)$(LIBDIR)/$(shared)
	rm -f $(DESTDIR)$(INCLUDEDIR)/oneaccess.h $(DESTDIR)$(INCLUDEDIR)/oneaccess.hpp
	rm -f $(pkgconfig)/oneaccess.pc
	rm -f $(DESTDIR)$(BINDIR)/oneaccess-token $(DESTDIR)$(MANDIR)/man1/oneaccess-token.1
	rm -rf $(cmake)

packages = $(abspath $(TARGET_DIR)/packages)
# Copies of the bindings, to which the library, the licences and a README of their own are added.
stage    = $(packages)/stage

packages: package-tools all
	rm -rf $(packages) && mkdir -p $(stage)/python $(stage)/node $(stage)/ruby
	cp -R $(addprefix bindings/python/,oneaccess pyproject.toml setup.py) $(stage)/python
	cp $(addprefix bindings/node/,oneaccess.js oneaccess.d.ts package.json) $(stage)/node
	cp -R $(addprefix bindings/ruby/,lib oneaccess.gemspec) $(stage)/ruby
	chmod -R u+w $(stage)
	for folder in python/oneaccess node ruby/lib; do \
	  cp $(capi)/$(shared) $(stage)/$$folder/liboneaccess.so.$(major) || exit; done
	for language in python node ruby; do \
	  cp LICENSE-* $(stage)/$$language && \
	  sed -E -f packaging/readme.sed bindings/$$language/README.md docs/settings.md \
	    > $(stage)/$$language/README.md || exit; done
	$(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir $(packages) $(stage)/python
	cd $(stage)/node && npm pkg set "os[]=$$(node -p process.platform)" "cpu[]=$$(node -p process.arch)"
	cd $(stage)/node && npm pack --silent --pack-destination $(packages)
	cd $(stage)/ruby && gem build --quiet oneaccess.gemspec && mv oneaccess-*.gem $(packages)
	rm -r $(stage)

package-tools:
	@for tool in '$(PYTHON) -m pip' npm gem; do \
	  $$tool --version >/dev/null 2>&1 || missing="$$missing, $$tool"; done; \
	if [ "$$missing" ]; then echo "make packages needs$${missing#,}" >&2; exit 1; fi

clean:
	rm -rf $(capi) $(packages)

.PHONY: all install uninstall packages package-tools clean
