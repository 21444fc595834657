# Copyright: (c) 2026, sre.runbooks contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the engine mysql decides without a server: how a dump is read, versions, and what a user may not see (D1, D4)."""

from __future__ import annotations

import pytest

from ansible_collections.sre.runbooks.plugins.module_utils._backup import _mysql_globals, _mysql_script, _mysql_survey
from ansible_collections.sre.runbooks.plugins.module_utils._backup._engine import Mismatch
from ansible_collections.sre.runbooks.plugins.module_utils._core.errors import RunbookError

END = b"\n-- Dump completed on 2026-11-21  8:56:26\n"


def data(name, body):
    return b"LOCK TABLES `%s` WRITE;\n/*!40000 ALTER TABLE `%s` DISABLE KEYS */;\n%s\n/*!40000 ALTER TABLE `%s` ENABLE KEYS */;\nUNLOCK TABLES;\n" % (
        name, name, body, name,
    )  # fmt: skip


def read(text, step, *arguments):
    script = _mysql_script.Script(*arguments)
    out = b"".join(script.feed(text[at : at + step]) for at in range(0, len(text), step))
    script.finish()
    return script.figures, out


@pytest.mark.parametrize("step", [1, 7, 64, 1 << 18])
@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b"", 0),
        # MariaDB: a row on a line.
        (b"INSERT INTO `t` VALUES\n(1,'a');", 1),
        (b"INSERT INTO `t` VALUES\n(1,'(),('),\n(2,'it\\'s \\\\'),\n(3,NULL);\nINSERT INTO `t` VALUES\n(4,');\\n('),\n(5,0xFF);", 5),
        # With names of columns the first row is on the line of the INSERT.
        (b"INSERT INTO `t` (`a`, `b),(`) VALUES (1,'),('),\n(2,'');", 2),
        # MySQL: all rows of a statement on one line.
        (b"INSERT INTO `t` VALUES (1,'a),(b'),(2,'it\\'s ),('),(3,'\\\\'),(4,_binary '\\'');\nINSERT INTO `t` VALUES (5,'');", 5),
        (b"INSERT INTO `t` VALUES (1,'" + b"long ),( \\\\" * 1000 + b"'),(2,'x');", 2),
    ],
)  # fmt: skip
def test_rows_are_counted_however_the_dump_is_cut(body, rows, step):
    figures, _out = read(b"CREATE TABLE `t` (a int);\n" + data(b"t", body) + END, step)
    assert figures == {"tables": {"t": rows}, "objects": {"tables": 1}}


@pytest.mark.parametrize("step", [1, 50, 1 << 18])
def test_what_is_executed_in_another_database_touches_no_other_and_belongs_to_nobody(step):
    text = b"""/*M!999999\\- enable the sandbox mode */
-- MariaDB dump
-- Host: it's "unbalanced
DROP TABLE IF EXISTS `a;``b
c`;
CREATE TABLE `a;``b
c` (`x` text DEFAULT 'it''s; \\'' COMMENT ";");
ALTER DATABASE `shop` CHARACTER SET latin1 COLLATE latin1_swedish_ci ;
DELIMITER ;;
/*!50003 CREATE*/ /*!50017 DEFINER=`root`@`local``host`*/ /*!50003 TRIGGER shop.tr BEFORE INSERT ON `shop`.`t` FOR EACH ROW BEGIN /* it's */ SET @a = 1;
END */;;
/*!50106 CREATE*/ /*!50117 DEFINER=`u`@`%`*/ /*!50106 EVENT `ON COMPLETION PRESERVE ENABLE` ON SCHEDULE
EVERY 1 DAY ON COMPLETION NOT PRESERVE ENABLE COMMENT 'ENABLE'
DO SELECT 1 */ ;;
ALTER DATABASE `shop` CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci ;;
CREATE DEFINER=`role` PROCEDURE `p`()
BEGIN USE_NOTHING; SELECT 'USE x;'; END
;;
DELIMITER ;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`root`@`localhost` SQL SECURITY DEFINER */
/*!50001 VIEW `v` AS select 1 AS `USE` */;
"""  # fmt: skip
    figures, out = read(text + END, step, "s`c")
    assert figures["objects"] == {"tables": 1, "triggers": 1, "events": 1, "procedures": 1, "views": 1}
    assert b"DEFINER=" not in out
    assert b"sandbox" not in out
    assert b"shop" not in out
    assert out.count(b"ALTER DATABASE `s``c` CHARACTER SET") == 2
    assert b"TRIGGER tr BEFORE INSERT ON `t` FOR EACH ROW BEGIN /* it's */" in out
    assert b"ON COMPLETION PRESERVE DISABLE COMMENT 'ENABLE'\nDO" in out
    assert b"SQL SECURITY DEFINER" in out
    kept = read(text + END, step, "s`c", True)[1]
    assert b"DEFINER=`root`@`local``host`" in kept
    assert b"ON COMPLETION NOT PRESERVE ENABLE COMMENT" in kept
    assert b"shop" not in kept


@pytest.mark.parametrize(
    "statement",
    [
        b"USE `other`;\n", b"use other;", b"CREATE DATABASE `other`;", b"/*!40000 DROP DATABASE IF EXISTS `other`*/;",
        b"CREATE DATABASE /*!32312 IF NOT EXISTS*/ `other` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;", b"/* x */ USE other;",
        b"DELIMITER ;;\nDROP SCHEMA other ;;\n", b"/*M!100100 DROP DATABASE other */;", b"CREATE OR REPLACE DATABASE other;",
    ],
)  # fmt: skip
def test_a_dump_that_speaks_of_another_database_is_refused(statement):
    with pytest.raises(Mismatch, match="speaks of another database"):
        read(b"CREATE TABLE `t` (a int);\n" + statement + b"\nDELIMITER ;\n" + END, 1 << 18)


def test_an_event_that_cannot_be_read_is_not_executed():
    text = b"DELIMITER ;;\nCREATE DEFINER=root@localhost EVENT e ON SCHEDULE EVERY 1 SECOND DO DELETE FROM t ;;\nDELIMITER ;\n"
    with pytest.raises(Mismatch, match="a statement cannot be read"):
        read(text + END, 1 << 18, "scratch")


@pytest.mark.parametrize("cut", [10, 60, 90, 130, 150, 190, -2, -20, -44])
def test_a_dump_that_was_cut_is_none(cut):
    text = b"CREATE TABLE `t` (a int);\n" + data(b"t", b"INSERT INTO `t` VALUES\n(1),\n(2);") + END
    with pytest.raises(Mismatch, match="-- Dump completed is missing"):
        read(text[:cut] if cut != -2 else text[:-3] + b"\nSELECT 1;\n", 1 << 18)


def test_something_else_without_an_end_needs_no_memory():
    script = _mysql_script.Script()
    pieces = iter(range(200))
    with pytest.raises(Mismatch, match="no dump of mariadb-dump"):
        any(script.feed(b"x" * (1 << 18)) for _piece in pieces)
    assert next(pieces) < 70


@pytest.mark.parametrize(
    ("text", "mariadb", "series"),
    [
        ("10.11.19-MariaDB-0+deb12u1-log", True, (10, 11)),
        ("mariadb-dump  Ver 10.19 Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)", True, (10, 11)),
        ("mariadb-dump from 11.4.2-MariaDB, client 15.2 for debian-linux-gnu (x86_64)", True, (11, 4)),
        ("mysqldump  Ver 10.13 Distrib 5.7.44, for Linux (x86_64)", False, (5, 7)),
        ("mysqldump  Ver 8.0.36 for Linux on x86_64 (MySQL Community Server - GPL)", False, (8, 0)),
        ("8.4.0", False, (8, 4)),
    ],
)
def test_versions(text, mariadb, series):
    found = _mysql_survey.version(text)
    assert (found.mariadb, found.series) == (mariadb, series)


def test_a_program_without_a_version_is_told():
    with pytest.raises(RunbookError, match="names no version"):
        _mysql_survey.version("nothing")


MARIADB, MYSQL = "10.11.19-MariaDB", "8.0.36"


@pytest.mark.parametrize(
    ("client", "server", "said"),
    [
        (MARIADB, MARIADB, None),
        ("11.4.2-MariaDB", MARIADB, None),
        ("10.11.2-MariaDB", MARIADB, None),
        ("8.4.0", MYSQL, None),
        (MARIADB, MYSQL, "is not the own program of MySQL 8.0.36"),
    ],
)
def test_programs_that_may_dump_a_server(client, server, said):
    found = _mysql_survey.suitable(_mysql_survey.version(client), _mysql_survey.version(server))
    assert found is None if said is None else said in found


@pytest.mark.parametrize(
    ("client", "server", "problem"),
    [
        ("10.5.23-MariaDB", MARIADB, "is older than the server .* Install the client of MariaDB 10.11"),
        ("5.7.44", MYSQL, "Install the client of MySQL 8.0"),
        (MYSQL, MARIADB, "knows neither sequences nor the history"),
    ],
)
def test_programs_that_would_lose_something(client, server, problem):
    with pytest.raises(RunbookError, match=problem):
        _mysql_survey.suitable(_mysql_survey.version(client), _mysql_survey.version(server))


ALL = "GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON {} TO `b`@`%`"


@pytest.mark.parametrize(
    ("grants", "hidden"),
    [
        (["GRANT ALL PRIVILEGES ON *.* TO `root`@`localhost` WITH GRANT OPTION"], []),
        ([ALL.format("*.*")], []),
        (["GRANT USAGE ON *.* TO `b`@`%`", "GRANT ALL PRIVILEGES ON `my\\_db`.* TO `b`@`%`"], []),
        ([ALL.format("`my\\_db`.*")], ["routines"]),
        ([ALL.format("`my%`.*"), "GRANT SELECT ON `mysql`.`proc` TO `b`@`%`"], []),
        ([ALL.format("`my_db`.*"), "GRANT SHOW CREATE ROUTINE ON *.* TO `b`@`%`"], []),
        (["GRANT SELECT, SHOW VIEW ON `my_db`.* TO `b`@`%`"], ["triggers", "events", "routines"]),
        ([ALL.format("`other`.*")], ["tables", "triggers", "events", "routines"]),
        (["GRANT SELECT (`a`, `b`), TRIGGER ON `my_db`.`t` TO `b`@`%`"], ["tables", "triggers", "events", "routines"]),
        (["GRANT USAGE ON *.* TO `b`@`%`", "GRANT `r`@`%` TO `b`@`%`"], []),
        (["GRANT USAGE ON *.* TO `b`@`%`", "GRANT PROXY ON ``@`%` TO `b`@`%`"], ["tables", "triggers", "events", "routines"]),
    ],
)  # fmt: skip
def test_what_a_user_may_not_see(grants, hidden):
    assert _mysql_survey.invisible(grants, "my_db") == hidden


def test_stand_ins_for_what_rights_are_granted_on():
    lines = [
        "CREATE USER IF NOT EXISTS `a`@`%`",
        "GRANT SELECT, INSERT (`x ON ``y`, `z`) ON `d``b`.`t` TO `a`@`%`",
        "GRANT UPDATE (`w`) ON `d``b`.`t` TO `a`@`%`",
        "GRANT SELECT ON `other`.* TO `a`@`%`",
        "GRANT EXECUTE ON PROCEDURE `d``b`.`p` TO `a`@`%`",
        "GRANT EXECUTE ON FUNCTION `e`.`f` TO `a`@`%`",
        "GRANT DELETE ON `e`.`plain` TO `a`@`%`",
    ]
    assert _mysql_globals._stand_ins(lines) == [
        "CREATE DATABASE IF NOT EXISTS `d``b`",
        "CREATE PROCEDURE IF NOT EXISTS `d``b`.`p`() SELECT 1",
        "CREATE DATABASE IF NOT EXISTS `e`",
        "CREATE FUNCTION IF NOT EXISTS `e`.`f`() RETURNS int DETERMINISTIC RETURN 1",
        "CREATE TABLE IF NOT EXISTS `d``b`.`t` (`x ON ``y` int, `z` int, `w` int)",
        "CREATE TABLE IF NOT EXISTS `e`.`plain` (a int)",
    ]
