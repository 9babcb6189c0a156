/** An error of a request, in OpenAI's form. */
export class RequestError extends Error {
  constructor(
    readonly status: number,
    message: string,
    /** The part of the request that is wrong. */
    readonly param: string | null = null,
    readonly code: string | null = null,
  ) {
    super(message)
  }

  /** The body of the answer. */
  body(): object {
    const type = this.status >= 500 ? 'server_error' : 'invalid_request_error'
    const { message, param, code } = this
    return { error: { message, type, param, code } }
  }
}
