#!/bin/sh
# A share of the canonical Twins words for n=4, one twin, four rounds: each 500th, and every tenth of
# these healed. All of them, 1,502,936: ostrakon-lab twins --jobs N
exec ./tools/ostrakon-lab twins --every "${OSTRAKON_TWINS_EVERY:-500}" --heal-every 10 --jobs 2
