-- name: type_of_backend
phone."connectionType"::text

-- name: type_of_ours
(SELECT given.connection_type FROM wa_sessions.assignment AS given WHERE given.phone_id = phone."id")

-- name: phones
SELECT coalesce(phone."id", lease.phone_id) AS id, phone."organizationId" AS organization_id,
       phone."phoneJid" AS jid,
       coalesce({connection_type}, 'baileys') AS connection_type,
       CASE WHEN lease.expires_at > clock_timestamp() THEN lease.worker_id END AS owner,
       extract(epoch FROM clock_timestamp() - lease.taken_at)::float8 AS held_for,
       CASE WHEN lease.wanted_until > clock_timestamp() THEN lease.wanted_by END AS wanted_by,
       lease.account,
       health.state,
       health.state_since >= (SELECT started_at FROM wa_sessions.worker WHERE id = %(me)s) AS since_my_start
FROM {phones} AS phone
FULL JOIN wa_sessions.lease ON lease.phone_id = phone."id"
LEFT JOIN wa_sessions.health ON health.phone_id = phone."id"
WHERE (lease.worker_id = %(me)s AND lease.expires_at > clock_timestamp()) OR (
    coalesce({connection_type}, 'baileys') = 'neonize'
    AND phone."phoneJid" IS NOT NULL AND coalesce(phone."organizationId" = %(organization_id)s, TRUE)
    AND (%(phone_ids)s::int[] IS NULL OR phone."id" = ANY(%(phone_ids)s))
    AND (lease.phone_id IS NULL OR lease.expires_at <= clock_timestamp() OR (
        lease.expires_at = 'infinity' AND lease.worker_id <> ALL(%(renewed)s::uuid[])
    ))
)
ORDER BY 1;
