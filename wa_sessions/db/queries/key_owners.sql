-- name: of_keys
SELECT "phoneJid" AS number, "key" AS name FROM {auth_table}
WHERE "key" = ANY(%(names)s) AND coalesce("organizationId" = %(organization_id)s, TRUE);
