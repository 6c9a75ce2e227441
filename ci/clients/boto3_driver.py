"""Makes AWS KMS calls with boto3, as the lines on stdin ask.

A line is {"region", "operation", "input"}; the answer is one line, {"output"}, {"error": {"class", "message", "status"}},
or {"unknown"} for an operation that this boto3 does not know.
Blobs are base64 in both directions. The class is that of the exception that boto3 raised, so an error that its model
does not know shows as ClientError.
"""

import base64
import datetime
import json
import os
import sys

import boto3
from botocore import xform_name
from botocore.exceptions import ClientError

clients = {}


def client(region):
    if region not in clients:
        clients[region] = boto3.client("kms", region_name=region, endpoint_url=os.environ["ANTIPODE_ENDPOINT"])
    return clients[region]


def call(region, operation, members):
    kms = client(region)
    if operation not in kms.meta.service_model.operation_names:
        return {"unknown": True}
    shapes = kms.meta.service_model.operation_model(operation).input_shape.members
    for name, value in members.items():
        if shapes[name].type_name == "blob":
            members[name] = base64.b64decode(value)
    try:
        output = getattr(kms, xform_name(operation))(**members)
    except ClientError as e:
        about = e.response["Error"]
        status = e.response["ResponseMetadata"]["HTTPStatusCode"]
        return {"error": {"class": type(e).__name__, "message": about["Message"], "status": status}}
    output.pop("ResponseMetadata")
    return {"output": output}


def plain(value):
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime.datetime):
        return value.isoformat()
    raise TypeError(type(value))


for line in sys.stdin:
    request = json.loads(line)
    answer = call(request["region"], request["operation"], request["input"])
    print(json.dumps(answer, default=plain), flush=True)
