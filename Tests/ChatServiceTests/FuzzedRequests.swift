import Fuzzing
import Testing

@testable import ChatService

/// Bodies of requests, whatever their bytes: see `FuzzedReader`.
@Suite struct FuzzedRequests {
  @Test func bodies() throws {
    let seeds = [
      #"""
      {"model":"m@emma.txt","messages":[{"role":"developer","content":"Be brief."},{"role":"user","content":[{"type":
      "text","text":"Who?"},{"type":"file","file":{"file_id":"file-6566"}}]}],"temperature":0.5,"top_p":0.9,"top_k":40,
      "min_p":0.1,"seed":-1,"stop":["a","b"],"max_tokens":7,"stream":true,"stream_options":{"include_usage":true},"n":1,
      "logprobs":true,"top_logprobs":3,"documents":"novels/emma.txt","tools":[],"frequency_penalty":0,"user":"x"}
      """#, #"{"prompt":[1,2,3],"max_tokens":5,"logprobs":2,"stop":"\n","documents":["a","b"]}"#,
      #"{"input":[{"role":"user","content":[{"type":"input_text","text":"Hi"}]}],"instructions":"Be","store":false}"#,
    ]
    try FuzzedReader.run("request", seeds: seeds.map { Array($0.utf8) }) { body in
      _ = try? ChatRequest(parsing: body, limit: 100)
      _ = try? CompletionRequest(parsing: body, limit: 100)
      _ = try? ResponsesRequest(parsing: body, limit: 100)
    }
  }
}
