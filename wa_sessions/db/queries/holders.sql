-- name: of_keys
SELECT "phoneJid" AS number, "key" AS name FROM {auth_table}
WHERE "key" = ANY(%(names)s) AND (%(organization_id)s::int IS NULL OR "organizationId" = %(organization_id)s);
