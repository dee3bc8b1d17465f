internal import ModelPacks
internal import NodeBlocks

/// How an encoder's states stand in nodes: as the keys and values of one layer. Of each part of a state that is as long
/// as one of the encoder's heads, the first half is a key, the second a value.
enum StateRows {
  static func layout(_ encoder: LlamaConfiguration, _ encoding: RowEncoding) -> NodeBlockLayout? {
    NodeBlockLayout(layerCount: 1, kvHeadCount: encoder.headCount, headDim: encoder.headDim / 2, encoding: encoding)
  }

  /// - Parameter states: (at least count, hidden of the encoder).
  /// - Returns: (count, half of hidden) each.
  static func halves(
    of states: FloatBuffer, count: Int, _ layout: NodeBlockLayout
  ) -> (keys: FloatBuffer, values: FloatBuffer) {
    let keys = FloatBuffer(rows: count, columns: states.columns / 2)
    let values = FloatBuffer(rows: count, columns: states.columns / 2)
    let half = layout.headDim
    for row in 0..<count {
      for head in 0..<layout.kvHeadCount {
        let source = unsafe states.row(row) + 2 * head * half
        unsafe (keys.row(row) + head * half).update(from: source, count: half)
        unsafe (values.row(row) + head * half).update(from: source + half, count: half)
      }
    }
    return (keys, values)
  }

  /// The states that a node keeps: (rows, hidden of the encoder).
  static func states(of block: NodeBlock) -> FloatBuffer {
    let (keys, values) = block.rows(layer: 0)
    let half = block.layout.headDim
    let width = block.layout.kvHeadCount * half
    let states = FloatBuffer(rows: block.rowCount, columns: 2 * width)
    for row in 0..<block.rowCount {
      let target = unsafe states.row(row)
      for i in 0..<width {
        let place = 2 * (i / half) * half + i % half
        unsafe target[place] = keys[row * width + i]
        unsafe target[place + half] = values[row * width + i]
      }
    }
    return states
  }
}
