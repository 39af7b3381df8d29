-- Takes back 0008. Tasks that are not finished are lost.
DROP TABLE torc.task;
