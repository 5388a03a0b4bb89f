"""Amazon Bedrock's batch inference, by boto3: each part into the bucket, and a job that reads it there.

Records are those of the Converse API. The region is the policy's, never the environment's. Bedrock refuses jobs of
fewer records than its quota asks for (100 for most models), and runs a model named by a cross-region inference
profile in other regions too.
"""

from __future__ import annotations

from governance.access.services.requests import missing, refused
from governance.model.policy import AiService


class Bedrock:
    def __init__(self, service: AiService) -> None:
        try:
            import boto3
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise missing("bedrock", "boto3", "aws") from None
        self._service = service
        self._faults = (BotoCoreError, ClientError)
        self._s3 = boto3.client("s3", region_name=service.region)
        self._bedrock = boto3.client("bedrock", region_name=service.region, endpoint_url=service.endpoint)

    def send(self, name: str, data: bytes) -> str:
        place = f"{self._service.bucket}/{name}"
        bucket, _, key = place.removeprefix("s3://").partition("/")
        try:
            self._s3.put_object(Bucket=bucket, Key=key, Body=data)
            job = self._bedrock.create_model_invocation_job(
                jobName=name.removesuffix(".jsonl"),
                clientRequestToken=name.removesuffix(".jsonl"),
                roleArn=self._service.role,
                modelId=self._service.model,
                modelInvocationType="Converse",
                inputDataConfig={"s3InputDataConfig": {"s3InputFormat": "JSONL", "s3Uri": place}},
                outputDataConfig={"s3OutputDataConfig": {"s3Uri": f"{self._service.bucket}/answers/"}},
            )
        except self._faults as fault:
            raise refused("Amazon Bedrock", type(fault).__name__) from None
        return str(job["jobArn"])


def record(instructed: bool) -> str:
    """A line of a job's file, as SQL over ``id``, ``text`` and, where asked, ``$instructions``."""
    told = "'system': [{'text': $instructions}], " if instructed else ""
    return (
        f"{{'recordId': id, 'modelInput': {{{told}"
        "'messages': [{'role': 'user', 'content': [{'text': text}]}]}}"
    )


def open_endpoint(service: AiService) -> Bedrock:
    """Raises: AccessError GOV-608 where the client is not installed."""
    return Bedrock(service)
