-- +goose Up
ALTER TABLE payments ALTER COLUMN amount DROP NOT NULL, ALTER COLUMN detail_sum DROP NOT NULL, ADD COLUMN balanced BOOLEAN;
UPDATE payments SET balanced = (amount = detail_sum);
ALTER TABLE payments ALTER COLUMN balanced SET NOT NULL;
COMMENT ON TABLE payments IS 'Payment reconciliations, amounts to the digit as sent, NULL where the message tells none that can be read. Balanced: all amounts are known and their sums are exact.';
ALTER TABLE payment_details ALTER COLUMN amount DROP NOT NULL, ALTER COLUMN payment DROP NOT NULL, ALTER COLUMN early_fee DROP NOT NULL,
    ALTER COLUMN nphies_fee DROP NOT NULL;
ALTER TABLE pauses ADD COLUMN operation TEXT NOT NULL DEFAULT '';
COMMENT ON COLUMN pauses.operation IS 'What met the error first. A poll that goes well ends what a poll began.';

-- +goose Down
ALTER TABLE pauses DROP COLUMN operation;
-- The older form has no word for an unknown amount.
UPDATE payment_details SET amount = coalesce(amount, 0), payment = coalesce(payment, 0), early_fee = coalesce(early_fee, 0), nphies_fee = coalesce(nphies_fee, 0);
ALTER TABLE payment_details ALTER COLUMN amount SET NOT NULL, ALTER COLUMN payment SET NOT NULL, ALTER COLUMN early_fee SET NOT NULL,
    ALTER COLUMN nphies_fee SET NOT NULL;
UPDATE payments SET amount = coalesce(amount, 0), detail_sum = coalesce(detail_sum, 0);
ALTER TABLE payments DROP COLUMN balanced, ALTER COLUMN amount SET NOT NULL, ALTER COLUMN detail_sum SET NOT NULL;
COMMENT ON TABLE payments IS 'Payment reconciliations, amounts to the digit as sent. They balance when amount equals detail_sum.';
