"""A request for erasure: planned, approved, carried out at once, then brought to its end.

The identifiers stand in a file of the home, one a line: no parameter and no XCom of Airflow carries them.
"""

from airflow.sdk import DAG, Asset, Param

from governance.airflow import (
    EraseOperator,
    ErasureApprovalOperator,
    FinishErasuresOperator,
    PlanErasureOperator,
    statutory_deadline,
)

with DAG(
    "subject_erasure",
    schedule=None,
    tags=["governed", "rights"],
    doc_md=__doc__,
    # Art. 12(3) GDPR: one month; a clock that runs out is stated in the log.
    deadline=statutory_deadline("gdpr-request"),
    params={
        "request": Param("DSR-1", type="string", title="Number of the request, no personal data"),
        "domain": Param("customer", type="string", title="Whose identifiers they are"),
        "subjects": Param("input/erasure.txt", type="string", title="File with one identifier a line"),
        "ground": Param("consent-withdrawn", enum=["consent-withdrawn", "objection", "unlawful", "ccpa"]),
    },
):
    whom = {"domain": "{{ params.domain }}", "subjects": "{{ params.subjects }}"}
    plan = PlanErasureOperator(task_id="plan", **whom)
    approve = ErasureApprovalOperator(task_id="approve", plan=plan.output)
    # From here on no read, disclosure or new pass has them.
    erase = EraseOperator(
        task_id="erase",
        request="{{ params.request }}",
        ground="{{ params.ground }}",
        plan=plan.output,
        **whom,
    )
    # Segments are written anew without them, old keys destroyed, every listed place searched; a certificate follows.
    finish = FinishErasuresOperator(task_id="finish", outlets=[Asset("erasures")], **whom)
    plan >> approve >> erase >> finish
