-- name: hurry
SET LOCAL statement_timeout = '1500ms';

-- name: phones
SELECT * FROM {phones}
WHERE starts_with("phoneJid", %(typed)s)
  AND coalesce("organizationId" = %(organization_id)s, TRUE)
ORDER BY "organizationId", "id" LIMIT 500;

-- name: operations
SELECT operation.id, operation.action, operation.at, min(phone.number) AS number, count(*) AS phones
FROM wa_sessions.operation JOIN wa_sessions.operation_phone AS phone ON phone.operation_id = operation.id
WHERE phone.purged_at IS NULL AND phone.unlinked_at IS NULL AND phone.restored_at IS NULL
GROUP BY operation.id ORDER BY operation.at DESC, operation.id LIMIT 50;
