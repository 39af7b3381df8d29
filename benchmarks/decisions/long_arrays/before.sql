-- Statements that delete what belongs to jobs are planned for the ids that they get: the planner walks through all.
ALTER FUNCTION torc.forget_deleted_jobs() SET plan_cache_mode = force_custom_plan;
ALTER FUNCTION torc.forget_jobs_of_actions(bigint[]) SET plan_cache_mode = force_custom_plan;
