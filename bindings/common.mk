# For the Makefile of each language, which sets `example` and `check`, the commands that run its two
# programs, and perhaps `build`, a command that comes before both.
#
# make run    builds the library, and runs the example against your tenant (ONEACCESS_ENDPOINT and
#             so on in the environment) or, if that is not set, against a mock tenant
# make check  runs the test program in the same way
#
# LIBRARY is the folder with the library. If you set it, the library is not built.

LIBRARY = $(abspath ../../target/capi)
INCLUDE = $(abspath ../../include)
tenant  = $(if $(ONEACCESS_ENDPOINT),,cargo run --quiet --manifest-path ../../Cargo.toml --example tenant --)

run: build
	$(tenant) env LD_LIBRARY_PATH='$(LIBRARY)' $(example)

# Languages that load the library at run time find it by ONEACCESS_LIBRARY, the others as above.
check: build
	$(tenant) env ONEACCESS_LIBRARY='$(LIBRARY)/liboneaccess.so.0' LD_LIBRARY_PATH='$(loader_path)' $(check)

build: $(if $(filter file,$(origin LIBRARY)),library)
	$(build)

library:
	$(MAKE) -C ../..

.PHONY: run check build library
