-- name: role
SELECT current_user AS name, has_database_privilege(current_database(), 'CREATE') AS may_create;
