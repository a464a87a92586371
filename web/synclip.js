import { app } from '../../scripts/app.js'

// Nodes 2.0 takes what a node with a VIDEO socket shows for a video; ours show pictures.
app.registerExtension({
  name: 'SyncLip.Pictures',
  nodeCreated(node) {
    if (node.comfyClass?.startsWith('SyncLip')) node.previewMediaType = 'image'
  },
})
