"""The AWS family: DynamoDB, SQS, S3 and KMS. The only package that imports botocore."""
