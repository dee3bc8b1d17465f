import Glibc
import ModelPacks

/// LLaMA over the float weights of a `TestPack`, in double precision, where every token looks for the keys and values
/// of the tokens that it sees and turns them to their positions.
final class ReferenceLlama {
  /// What one token sees in a layer, for a key-value head.
  struct Seen {
    var tokens: [Int]
    /// Of the tokens that are seen.
    var positions: [Int]
    /// Of the token itself.
    var position: Int
  }

  private let configuration = LlamaConfiguration.small
  private let seen: (_ layer: Int, _ kvHead: Int, _ token: Int) -> Seen
  /// The weights that a token's queries give each token that they see, summed over the heads of a group: by layer,
  /// key-value head and token.
  private(set) var weights: [[Int]: [Int: Double]] = [:]

  init(seen: @escaping (_ layer: Int, _ kvHead: Int, _ token: Int) -> Seen) { self.seen = seen }

  func logits(_ tokens: [Int32]) -> [Double] {
    let c = configuration
    let embedding = matrix("model.embed_tokens.weight", c.vocabularySize, c.hiddenSize, scale: 1)
    var states = tokens.map { embedding[Int($0)] }
    for layer in 0..<c.layerCount {
      let name = "model.layers.\(layer)"
      let normed = states.map { normalize($0, "\(name).input_layernorm.weight") }
      let queries = multiply(normed, "\(name).self_attn.q_proj.weight", c.headCount * c.headDim)
      let keys = multiply(normed, "\(name).self_attn.k_proj.weight", c.kvHeadCount * c.headDim)
      let values = multiply(normed, "\(name).self_attn.v_proj.weight", c.kvHeadCount * c.headDim)
      let attended = tokens.indices.map { attend($0, layer, queries, keys, values) }
      states = add(states, multiply(attended, "\(name).self_attn.o_proj.weight", c.hiddenSize))
      let inner = states.map { normalize($0, "\(name).post_attention_layernorm.weight") }
      let gate = multiply(inner, "\(name).mlp.gate_proj.weight", c.intermediateSize)
      let up = multiply(inner, "\(name).mlp.up_proj.weight", c.intermediateSize)
      let activated = zip(gate, up).map { zip($0, $1).map { $0 / (1 + exp(-$0)) * $1 } }
      states = add(states, multiply(activated, "\(name).mlp.down_proj.weight", c.hiddenSize))
    }
    return multiply(states.map { normalize($0, "model.norm.weight") }, "lm_head.weight", c.vocabularySize).flatMap(
      \.self)
  }

  private func attend(
    _ t: Int, _ layer: Int, _ queries: [[Double]], _ keys: [[Double]], _ values: [[Double]]
  ) -> [Double] {
    let c = configuration
    return (0..<c.kvHeadCount).flatMap { kvHead -> [Double] in
      let kv = kvHead * c.headDim..<(kvHead + 1) * c.headDim
      let seen = seen(layer, kvHead, t)
      let turned = zip(seen.tokens, seen.positions).map { rotate(keys[$0][kv], $1) }
      let group = c.headCount / c.kvHeadCount
      return (kvHead * group..<(kvHead + 1) * group).flatMap { head -> [Double] in
        let query = rotate(queries[t][head * c.headDim..<(head + 1) * c.headDim], seen.position)
        let scores = turned.map { zip(query, $0).reduce(0) { $0 + $1.0 * $1.1 } / Double(c.headDim).squareRoot() }
        let largest = scores.max() ?? 0
        let unscaled = scores.map { exp($0 - largest) }
        let sum = unscaled.reduce(0, +)
        for (token, weight) in zip(seen.tokens, unscaled) {
          weights[[layer, kvHead, t], default: [:]][token, default: 0] += weight / sum
        }
        return kv.map { d in zip(seen.tokens, unscaled).reduce(0) { $0 + values[$1.0][d] * $1.1 } / sum }
      }
    }
  }

  private func rotate(_ x: ArraySlice<Double>, _ position: Int) -> [Double] {
    var result = Array(x)
    let half = x.count / 2
    for i in 0..<half {
      let angle = Double(position) * pow(configuration.ropeTheta, -2 * Double(i) / Double(2 * half))
      let (a, b) = (result[i], result[half + i])
      result[i] = a * cos(angle) - b * sin(angle)
      result[half + i] = b * cos(angle) + a * sin(angle)
    }
    return result
  }

  private func normalize(_ x: [Double], _ name: String) -> [Double] {
    let weight = TestPack.uniform(name, x.count).map { 1 + 0.25 * Double($0) }
    let scale = 1 / (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + Double(configuration.rmsNormEpsilon)).squareRoot()
    return zip(x, weight).map { $0 * scale * $1 }
  }

  private func multiply(_ x: [[Double]], _ name: String, _ rows: Int) -> [[Double]] {
    let weights = matrix(name, rows, x[0].count, scale: 0.25)
    return x.map { x in weights.map { zip($0, x).reduce(0) { $0 + $1.0 * $1.1 } } }
  }

  private func matrix(_ name: String, _ rows: Int, _ columns: Int, scale: Double) -> [[Double]] {
    let values = TestPack.uniform(name, rows * columns).map { Double($0) * scale }
    return (0..<rows).map { Array(values[$0 * columns..<($0 + 1) * columns]) }
  }

  private func add(_ x: [[Double]], _ y: [[Double]]) -> [[Double]] {
    zip(x, y).map { zip($0, $1).map { $0 + $1 } }
  }
}
