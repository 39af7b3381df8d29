"""Access groups, their members, the workflows shared with them, and what that lets people do."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from calls import new_group

MISSING = 10**15


@pytest.fixture(autouse=True)
def no_groups_left(access):
    """A test finds no group but the system's."""
    yield
    access.database.execute("DELETE FROM torc.access_group WHERE NOT is_system")


@pytest.fixture
def root(access):
    """A system administrator."""
    return access.user("root")


@pytest.fixture
def workflow(access):
    """A workflow of olga's."""
    return access.workflow(user="olga")


@pytest.fixture
def group(access):
    """A group that gus administers and mel is in."""
    return new_group(access.client, gus="admin", mel="member")


def message(answer):
    return answer.json["error"]["message"]


def membership(user, role="member"):
    return {"user_name": user, "group_id": 0, "role": role}


def names(answer):
    return [item["name"] for item in answer.json["items"]]


# Groups


def test_a_group_has_an_id_a_name_a_description_and_a_time(root):
    sent = {"id": 7, "name": "crew", "description": "all", "created_at": "then", "is_system": True}
    created = root.post("/access_groups", json=sent).json
    assert created.keys() == {"id", "name", "description", "created_at"}
    assert (created["name"], created["description"]) == ("crew", "all")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", created["created_at"])
    assert root.get(f"/access_groups/{created['id']}").json == created
    assert root.delete(f"/access_groups/{created['id']}").json == created
    answer = root.get(f"/access_groups/{created['id']}", status=404)
    assert message(answer) == f"Group not found with ID: {created['id']}"


@pytest.mark.parametrize("description", [{}, {"description": None}])
def test_a_description_that_is_not_given_is_left_out(root, description):
    created = root.post("/access_groups", json={"name": "bare"} | description).json
    assert "description" not in root.delete(f"/access_groups/{created['id']}").json


@pytest.mark.parametrize("field, value", [("name", None), ("name", 1), ("name", "\0"), ("description", 1)])
def test_a_group_that_does_not_fit_is_422_naming_the_field(root, field, value):
    answer = root.post("/access_groups", json={"name": "x"} | {field: value}, status=422)
    assert answer.json["error"]["field"] == field


def test_a_second_group_of_a_name_is_409(root, access):
    root.post("/access_groups", json={"name": "network"})
    error = root.post("/access_groups", json={"name": "network"}, status=409).json["error"]
    assert error == {"error": "Conflict", "message": "Another row already has this name", "field": "name"}
    assert access.client.post("/access_groups", json={"name": "admin"}, status=409)


def test_groups_are_listed_by_name_byte_by_byte_in_the_envelope_of_access_control(root, access):
    for name in ("~b", "~C", "~a"):
        root.post("/access_groups", json={"name": name})
    everything = root.get("/access_groups").json
    assert [item["name"] for item in everything["items"]][-3:] == ["~C", "~a", "~b"]
    total = everything["total_count"]
    assert everything | {"items": []} == {
        "items": [], "offset": 0, "limit": 100000, "total_count": total, "has_more": False,
    }  # fmt: skip
    page = root.get("/access_groups", params={"offset": total - 3, "limit": 2}).json
    assert [item["name"] for item in page.pop("items")] == ["~C", "~a"]
    assert page == {"offset": total - 3, "limit": 2, "total_count": total, "has_more": True}
    assert root.get("/access_groups", params={"limit": 0}).json["has_more"] is True


@pytest.mark.parametrize("path", ["/access_groups", "/access_groups/{group}/members", "/users/u/groups",
                                  "/workflows/{workflow}/access_groups"])  # fmt: skip
@pytest.mark.parametrize("params, status", [
    ({"limit": 100001}, 422), ({"limit": -1}, 422), ({"offset": -1}, 422), ({"limit": "x"}, 400), ({"limit": ""}, 400),
])  # fmt: skip
def test_a_page_out_of_bounds_is_refused(root, workflow, group, path, params, status):
    answer = root.get(path.format(group=group, workflow=workflow.id), params=params, status=status)
    assert answer.json["error"]["field"] == next(iter(params))


def test_a_deleted_group_takes_its_memberships_and_links_and_nothing_else(root, access, workflow, group):
    root.post(f"{workflow.path}/access_groups/{group}")
    access.user("mel").get(workflow.path)
    root.delete(f"/access_groups/{group}")
    access.user("mel").get(workflow.path, status=403)
    assert root.get("/users/mel/groups").json["items"] == []
    access.user("olga").get(workflow.path)


@pytest.mark.parametrize("enforced", [True, False])
def test_the_systems_group_cannot_be_deleted(access, enforced):
    answer = access.user("root", enforced).delete(f"/access_groups/{access.system_group}", status=403)
    assert message(answer) == "Cannot delete system groups"


@pytest.mark.parametrize("method, path", [
    ("GET", ""), ("DELETE", ""), ("GET", "/members"), ("POST", "/members"), ("DELETE", "/members/mel"),
])  # fmt: skip
@pytest.mark.parametrize("enforced", [True, False])
def test_a_group_that_does_not_exist_is_404_for_an_administrator(access, enforced, method, path):
    arguments = {"json": membership("mel")} if method == "POST" else {}
    root = access.user("root", enforced)
    answer = root.request(method, f"/access_groups/{MISSING}{path}", status=404, **arguments)
    if enforced or not path.endswith("mel"):
        assert message(answer) == f"Group not found with ID: {MISSING}"


# Members


def test_a_membership_is_answered_listed_by_user_and_removed(root, group):
    sent = membership("ann") | {"id": 1, "created_at": "then", "group_id": 99}
    created = root.post(f"/access_groups/{group}/members", json=sent).json
    assert created.keys() == {"id", "user_name", "group_id", "role", "created_at"}
    assert (created["user_name"], created["group_id"], created["role"]) == ("ann", group, "member")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", created["created_at"])
    listed = root.get(f"/access_groups/{group}/members").json
    assert [item["user_name"] for item in listed["items"]] == ["ann", "gus", "mel"]
    assert listed["items"][0] == created
    assert (listed["limit"], listed["total_count"], listed["has_more"]) == (100000, 3, False)
    assert root.delete(f"/access_groups/{group}/members/ann").json == created
    answer = root.delete(f"/access_groups/{group}/members/ann", status=404)
    assert message(answer) == f"Membership not found for this user in group {group}"


@pytest.mark.parametrize("field", ["user_name", "group_id", "role"])
def test_a_membership_needs_all_its_fields(root, group, field):
    body = {key: value for key, value in membership("ann").items() if key != field}
    answer = root.post(f"/access_groups/{group}/members", json=body, status=422)
    assert answer.json["error"]["field"] == field


def test_a_second_membership_is_409_whatever_its_role(root, group):
    answer = root.post(f"/access_groups/{group}/members", json=membership("mel", "admin"), status=409)
    assert message(answer) == "Another row already has this user_name, group_id"
    assert root.get(f"/access_groups/{group}/members").json["items"][1]["role"] == "member"


def test_any_text_is_a_role_and_only_admin_administers(access, root, group):
    assert root.post(f"/access_groups/{group}/members", json=membership("ann", "Admin")).json["role"] == "Admin"
    answer = access.user("ann").post(f"/access_groups/{group}/members", json=membership("x"), status=403)
    assert message(answer) == f"User is not an admin of group {group}"


@pytest.mark.parametrize("name", ["a/b", "/a", "a/", "a//b", "ü b", "a%2Fb", "a?b#c", "groups", "50%"])
def test_a_user_name_in_a_path_may_be_any_text(root, access, group, name):
    quoted = "".join(f"%{byte:02X}" for byte in name.encode())
    root.post(f"/access_groups/{group}/members", json=membership(name))
    assert len(names(root.get(f"/users/{quoted}/groups"))) == 1
    workflow = access.workflow(user=name)
    answer = root.get(f"/access_check/{workflow.id}/{quoted}").json
    assert answer == {"has_access": True, "user_name": name, "workflow_id": workflow.id}
    assert root.delete(f"/access_groups/{group}/members/{quoted}").json["user_name"] == name


def test_a_groups_administrator_chooses_its_members_and_leaves_other_groups_alone(access, group):
    gus, other = access.user("gus"), new_group(access.client)
    gus.post(f"/access_groups/{group}/members", json=membership("ann", "admin"))
    access.user("ann").delete(f"/access_groups/{group}/members/gus")
    gus.post(f"/access_groups/{group}/members", json=membership("x"), status=403)
    access.user("ann").post(f"/access_groups/{other}/members", json=membership("x"), status=403)
    access.user("mel").delete(f"/access_groups/{group}/members/mel", status=403)


def test_only_system_administrators_read_groups(access, group):
    gus = access.user("gus")
    for path in ("/access_groups", f"/access_groups/{group}", f"/access_groups/{group}/members"):
        assert message(gus.get(path, status=403)) == "User is not a system administrator"


def test_an_outsider_learns_nothing_about_which_groups_exist_but_from_the_group_rule(access):
    eve = access.user("eve")
    eve.get(f"/access_groups/{MISSING}", status=403)
    eve.get(f"/access_groups/{MISSING}/members", status=403)
    eve.post(f"/access_groups/{MISSING}/members", json=membership("x"), status=404)


@pytest.mark.parametrize("method, path", [("POST", "/members"), ("DELETE", "/members/root")])
def test_the_members_of_the_systems_group_are_not_for_the_api_under_access_control(access, method, path):
    arguments = {"json": membership("eve")} if method == "POST" else {}
    path = f"/access_groups/{access.system_group}{path}"
    for user in ("root", "eve"):
        answer = access.user(user).request(method, path, status=403, **arguments)
        assert message(answer) == "Admin group membership is managed via server configuration"


def test_a_group_named_admin_that_is_not_the_systems_makes_no_administrators(access):
    access.database.execute("UPDATE torc.access_group SET is_system = false WHERE name = 'admin'")
    try:
        access.user("root").get("/access_groups", status=403)
    finally:
        access.database.execute("UPDATE torc.access_group SET is_system = true WHERE name = 'admin'")


def test_whatever_the_role_a_member_of_the_systems_group_is_an_administrator(access):
    access.client.post(f"/access_groups/{access.system_group}/members", json=membership("ada", "guest"))
    access.user("ada").get("/access_groups")
    access.client.delete(f"/access_groups/{access.system_group}/members/ada")
    access.user("ada").get("/access_groups", status=403)


def test_the_name_anonymous_is_nobodys(access, group):
    workflow = access.workflow(user="anonymous")
    system = f"/access_groups/{access.system_group}/members"
    for members in (f"/access_groups/{group}/members", system):
        access.client.post(members, json=membership("anonymous", "admin"))
    access.client.post(f"{workflow.path}/access_groups/{group}")
    try:
        anonymous = access.user("anonymous")
        anonymous.get(workflow.path, status=403)
        assert anonymous.get("/workflows").json["items"] == []
        anonymous.get("/access_groups", status=403)
        anonymous.post(f"/access_groups/{group}/members", json=membership("x"), status=403)
        anonymous.post(f"{workflow.path}/access_groups/{group}", status=403)
        anonymous.get("/users/mel/groups", status=403)
        assert access.client.get(f"/access_check/{workflow.id}/anonymous").json["has_access"] is False
    finally:
        access.client.delete(f"{system}/anonymous")


# Groups of a user


def test_a_user_sees_his_own_groups_and_nobody_elses(access, root):
    for name in ("~z", "~y"):
        group = root.post("/access_groups", json={"name": name}).json["id"]
        root.post(f"/access_groups/{group}/members", json=membership("ula"))
    listed = access.user("ula").get("/users/ula/groups", params={"limit": 1}).json
    assert [item["name"] for item in listed.pop("items")] == ["~y"]
    assert listed == {"offset": 0, "limit": 1, "total_count": 2, "has_more": True}
    assert names(root.get("/users/ula/groups")) == ["~y", "~z"]
    answer = access.user("eve").get("/users/ula/groups", status=403)
    assert message(answer) == "Only admins can list the groups of other users"
    assert root.get("/users/unknown/groups").json["items"] == []
    assert access.user("anonymous").get("/users/anonymous/groups").json["items"] == []


# Sharing


def test_sharing_answers_the_link_and_lets_the_group_in_until_it_is_taken_back(access, workflow, group):
    olga, mel = access.user("olga"), access.user("mel")
    mel.get(workflow.path, status=403)
    link = olga.post(f"{workflow.path}/access_groups/{group}").json
    assert link.keys() == {"workflow_id", "group_id", "created_at"}
    assert (link["workflow_id"], link["group_id"]) == (workflow.id, group)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", link["created_at"])
    assert mel.get(workflow.path).json["user"] == "olga"
    listed = mel.get(f"{workflow.path}/access_groups").json
    assert [item["id"] for item in listed["items"]] == [group]
    assert (listed["limit"], listed["total_count"], listed["has_more"]) == (100000, 1, False)
    assert olga.delete(f"{workflow.path}/access_groups/{group}").json == link
    mel.get(workflow.path, status=403)
    answer = olga.delete(f"{workflow.path}/access_groups/{group}", status=404)
    assert message(answer) == f"Association not found for workflow {workflow.id} in group {group}"


def test_sharing_twice_is_409(access, workflow, group):
    olga = access.user("olga")
    olga.post(f"{workflow.path}/access_groups/{group}")
    answer = olga.post(f"{workflow.path}/access_groups/{group}", status=409)
    assert message(answer) == f"Workflow {workflow.id} is already associated with group {group}"


def test_sharing_twice_at_once_is_409_for_all_but_one(access, workflow, group):
    path = f"{workflow.path}/access_groups/{group}"
    with ThreadPoolExecutor(4) as threads:
        asked = list(threads.map(lambda _: access.user("olga").post(path, status=None), range(4)))
    assert sorted(answer.status_code for answer in asked) == [200, 409, 409, 409]


@pytest.mark.parametrize("enforced", [True, False])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_sharing_what_does_not_exist_is_404(access, workflow, group, enforced, method):
    root = access.user("root", enforced)
    answer = root.request(method, f"{workflow.path}/access_groups/{MISSING}", status=404)
    if method == "POST" or enforced:
        assert message(answer) == f"Group not found with ID: {MISSING}"
    answer = root.request(method, f"/workflows/{MISSING}/access_groups/{group}", status=404)
    if method == "POST" or enforced:
        assert message(answer) == f"Workflow not found with ID: {MISSING}"
    access.user("olga", enforced).request(method, f"{workflow.path}/access_groups/{MISSING}", status=404)


def test_a_groups_administrator_cannot_take_a_workflow_by_sharing_it_with_his_group(access, workflow, group):
    answer = access.user("gus").post(f"{workflow.path}/access_groups/{group}", status=403)
    assert message(answer) == f"Only the owner of workflow {workflow.id} and system administrators may share it"
    access.user("gus").get(workflow.path, status=403)


def test_one_whom_a_workflow_is_shared_with_cannot_share_it_on(access, workflow, group):
    access.user("olga").post(f"{workflow.path}/access_groups/{group}")
    other = new_group(access.client, mel="admin", gus="admin", eve="member")
    for user in ("mel", "gus"):
        access.user(user).post(f"{workflow.path}/access_groups/{other}", status=403)


def test_the_owner_shares_with_any_group_and_an_administrator_shares_any_workflow(access, root, workflow, group):
    access.user("olga").post(f"{workflow.path}/access_groups/{new_group(access.client)}")
    access.user("olga").post(f"{workflow.path}/access_groups/{access.system_group}")
    root.post(f"{workflow.path}/access_groups/{group}")
    other = access.workflow(user="otto")
    answer = root.post(f"{other.path}/access_groups/{access.system_group}", status=403)
    assert message(answer) == "Admin group membership is managed via server configuration"


def test_a_groups_administrator_may_take_a_workflow_from_his_group_and_a_member_may_not(access, workflow, group):
    path = f"{workflow.path}/access_groups/{group}"
    access.user("olga").post(path)
    access.user("mel").delete(path, status=403)
    access.user("gus").delete(path)
    access.user("gus").get(workflow.path, status=403)


# The check


def test_the_check_says_who_owns_or_shares_a_workflow(access, root, workflow, group):
    def has_access(user, asking=root, workflow_id=workflow.id):
        return asking.get(f"/access_check/{workflow_id}/{user}").json["has_access"]

    assert has_access("olga") and not has_access("mel")
    root.post(f"{workflow.path}/access_groups/{group}")
    assert has_access("mel", access.user("mel")) and not has_access("eve", access.user("eve"))
    assert not has_access("root"), "a system administrator has more than access"
    assert not has_access("olga", workflow_id=MISSING)
    assert has_access("mel", access.client) and not has_access("eve", access.client)


def test_the_check_is_for_oneself_and_for_administrators(access, workflow):
    answer = access.user("eve").get(f"/access_check/{workflow.id}/olga", status=403)
    assert message(answer) == "Only admins can check access for other users"
    for name in ("olga", "anonymous"):
        answer = access.user("anonymous").get(f"/access_check/{workflow.id}/{name}", status=403)
        assert message(answer) == "Authentication required"


# Workflows


def test_a_list_of_workflows_holds_ones_own_and_those_of_ones_groups(access, root, workflow, group):
    mine, shared = access.workflow(user="mel"), workflow
    access.workflow(user="otto")
    root.post(f"{shared.path}/access_groups/{group}")
    listed = access.user("mel").get("/workflows", params={"sort_by": "id"}).json
    assert [item["id"] for item in listed["items"]][-2:] == sorted([mine.id, shared.id])
    assert listed["total_count"] == len(listed["items"])
    assert {item["user"] for item in listed["items"]} <= {"mel", "olga"}
    assert root.get("/workflows").json["total_count"] == access.client.get("/workflows").json["total_count"]
    assert access.user("eve").get("/workflows").json["total_count"] == 0
    assert access.user("anonymous").get("/workflows").json == {
        "items": [], "workflows": [], "offset": 0, "max_limit": 100000, "count": 0, "total_count": 0, "has_more": False,
    }  # fmt: skip


def test_asking_for_the_workflows_of_a_user_never_shows_more(access, root, workflow, group):
    root.post(f"{workflow.path}/access_groups/{group}")
    access.workflow(user="otto")
    for user, sees in (("mel", True), ("eve", False), ("anonymous", False)):
        listed = access.user(user).get("/workflows", params={"user": "olga"}).json
        assert (workflow.id in [item["id"] for item in listed["items"]]) is sees
        assert access.user(user).get("/workflows", params={"user": "otto"}).json["total_count"] == 0


def test_only_the_owner_and_administrators_give_a_workflow_away(access, root, workflow, group):
    root.post(f"{workflow.path}/access_groups/{group}")
    body = {"name": "new name", "user": "mel"}
    answer = access.user("mel").put(workflow.path, json=body, status=403)
    assert message(answer) == "Only the owner of a workflow and system administrators may change its user"
    assert root.get(workflow.path).json["name"] == "w"
    assert access.user("mel").put(workflow.path, json=body | {"user": "olga"}).json["name"] == "new name"
    assert access.user("olga").put(workflow.path, json=body | {"user": "otto"}).json["user"] == "otto"
    access.user("olga").get(workflow.path, status=403)
    assert root.put(workflow.path, json=body | {"user": "olga"}).json["user"] == "olga"
    assert access.client.put(workflow.path, json=body).json["user"] == "mel"


def test_nobody_makes_workflows_without_a_name(access):
    answer = access.user("anonymous").post("/workflows", json={"name": "w", "user": "olga"}, status=403)
    assert message(answer) == "Anonymous access not allowed when access control is enabled"


def test_what_does_not_exist_is_404_and_what_is_not_ones_own_403_also_for_an_outsider(access, workflow):
    job = workflow.job()
    for user in ("eve", "anonymous"):
        access.user(user).get(f"/workflows/{MISSING}", status=404)
        access.user(user).get(workflow.path, status=403)
        access.user(user).get(f"/jobs/{MISSING}", status=404)
        access.user(user).get(f"/jobs/{job}", status=403)


def test_a_malformed_body_is_refused_before_anybody_asks_who_sends_it(access, workflow):
    access.user("eve").put(workflow.path, json={"name": 1}, status=422)
    access.user("eve").put(workflow.path, body="{", headers={"Content-Type": "application/json"}, status=400)
