#ifndef TESTS_LEDGER_CHECK_LEDGER_H
#define TESTS_LEDGER_CHECK_LEDGER_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ledger/world.h"

size_t count_records(struct store *s, enum store_family f);

Suite *tx_suite(void);
Suite *tree_suite(void);
Suite *tree_stale_suite(void);
Suite *tree_shared_suite(void);
Suite *nonce_suite(void);
Suite *state_suite(void);
Suite *block_suite(void);
Suite *recovery_suite(void);
Suite *proof_suite(void);
Suite *document_suite(void);
Suite *modes_suite(void);
Suite *receipts_suite(void);
Suite *range_suite(void);

#endif
