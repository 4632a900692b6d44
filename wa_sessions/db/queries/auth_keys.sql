-- name: key_type
CASE ascii("key")
    WHEN ascii('s') THEN CASE
        WHEN starts_with("key", 'session-') THEN 'session'
        WHEN starts_with("key", 'sender-key-memory-') THEN 'sender-key-memory'
        WHEN starts_with("key", 'sender-key-') THEN 'sender-key'
        ELSE 'other'
    END
    WHEN ascii('p') THEN CASE WHEN starts_with("key", 'pre-key-') THEN 'pre-key' ELSE 'other' END
    WHEN ascii('l') THEN CASE WHEN starts_with("key", 'lid-mapping-') THEN 'lid-mapping' ELSE 'other' END
    WHEN ascii('d') THEN CASE WHEN starts_with("key", 'device-list-') THEN 'device-list' ELSE 'other' END
    WHEN ascii('i') THEN CASE WHEN starts_with("key", 'identity-key-') THEN 'identity-key' ELSE 'other' END
    WHEN ascii('t') THEN CASE WHEN starts_with("key", 'tctoken-') THEN 'tctoken' ELSE 'other' END
    WHEN ascii('a') THEN CASE
        WHEN starts_with("key", 'app-state-sync-version-') THEN 'app-state-sync-version'
        WHEN starts_with("key", 'app-state-sync-key-') THEN 'app-state-sync-key'
        ELSE 'other'
    END
    WHEN ascii('c') THEN CASE WHEN "key" = 'creds' THEN 'creds' ELSE 'other' END
    ELSE 'other'
END

-- name: sums
SELECT {key_type} AS type, count(*) AS rows, sum(octet_length("value")) AS bytes
FROM {auth_table}
WHERE "organizationId" = %(organization_id)s AND "phoneJid" = %(number)s
GROUP BY 1;

-- name: everybody
TRUE

-- name: of_organization
"organizationId" = %(organization_id)s

-- name: counts
SELECT organization_id, number, jsonb_object_agg(type, rows) AS by_type
FROM (
    SELECT "organizationId" AS organization_id, "phoneJid" AS number, {key_type} AS type, count(*) AS rows
    FROM {auth_table}
    WHERE {scope}
    GROUP BY 1, 2, 3
) AS counted
GROUP BY 1, 2;

-- name: names
SELECT "key" AS name FROM {auth_table}
WHERE "organizationId" = %(organization_id)s AND "phoneJid" = %(number)s
  AND (%(after)s::text IS NULL OR "key" > %(after)s)
  AND (%(type)s::text IS NULL OR {key_type} = %(type)s)
ORDER BY "key" LIMIT %(limit)s;
